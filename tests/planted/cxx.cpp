// SPDX-License-Identifier: MIT
// C++ objects, lost and held: containers, smart pointers, second bases, virtual classes, threads.
#include "plant.h"

#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace zoo
{

struct Animal {
	virtual ~Animal() = default;
	virtual int legs() const = 0;
	long weight = 0x1111;
};

struct Swimmer {
	virtual ~Swimmer() = default;
	virtual int fins() const
	{
		return 1;
	}
	long depth = 0x2222;
};

struct Duck : Animal, Swimmer {
	int legs() const override
	{
		return 2;
	}
	int fins() const override
	{
		return 0;
	}
	long feathers[6] = { 1, 2, 3, 4, 5, 6 };
};

} // namespace zoo

static std::vector<void *> *volatile held_vector;
static std::list<std::string> *volatile held_list;
static std::map<int, std::string> *volatile held_map;
static std::unordered_map<std::string, int> *volatile held_table;
static zoo::Swimmer *volatile held_by_second_base[20];
static std::shared_ptr<zoo::Duck> *volatile held_shared;
static zoo::Animal *volatile held_array;

static const std::string long_text(60, 'x');

PLANT void keep_containers()
{
	held_vector = new std::vector<void *>;
	for (int i = 0; i < 100; i++) {
		held_vector->push_back(plant_block(33));
		truth_live(held_vector->back(), "std::vector");
	}
	truth_live(held_vector->data(), "body of std::vector");
	held_list = new std::list<std::string>(20, long_text);
	for (const std::string &text : *held_list)
		truth_live(text.data(), "std::string in std::list");
	held_map = new std::map<int, std::string>;
	held_table = new std::unordered_map<std::string, int>;
	for (int i = 0; i < 50; i++) {
		(*held_map)[i] = long_text + std::to_string(i);
		truth_live((*held_map)[i].data(), "std::string in std::map");
		(*held_table)[long_text + std::to_string(i)] = i;
	}
	for (const auto &pair : *held_table)
		truth_live(pair.first.data(), "std::string in std::unordered_map");
}

PLANT void keep_objects()
{
	for (int i = 0; i < 20; i++) {
		zoo::Duck *duck = new zoo::Duck;

		held_by_second_base[i] = duck;
		truth_live(duck, "object by its second base");
	}
	held_shared = new std::shared_ptr<zoo::Duck>(std::make_shared<zoo::Duck>());
	truth_live(held_shared, "std::shared_ptr");
	// new[] of objects with destructors: the program's pointer is one word into the block.
	zoo::Duck *array = new zoo::Duck[10];

	held_array = array;
	truth_live(reinterpret_cast<char *>(array) - sizeof(size_t), "array by its first element");
}

PLANT void lose_containers()
{
	auto *vector = new std::vector<std::unique_ptr<std::string>>;

	for (int i = 0; i < 10; i++)
		vector->push_back(std::make_unique<std::string>(long_text));
	truth_direct(vector);
	truth_indirect(vector->data(), vector);
	for (const auto &text : *vector) {
		truth_indirect(text.get(), vector);
		truth_indirect(text->data(), vector);
	}
}

PLANT void lose_objects()
{
	for (int i = 0; i < 20; i++)
		truth_direct(new zoo::Duck);
}

// std::map is a ring: its nodes lead up to a header inside the map object, which leads to them.
// The type of a node is private; the pair is its last member, behind four words.
PLANT void lose_map()
{
	auto *map = new std::map<int, zoo::Animal *>;

	truth_cycle(map, map);
	for (int i = 0; i < 5; i++) {
		zoo::Duck *duck = new zoo::Duck;

		map->emplace(i, duck);
		truth_indirect(duck, map);
	}
	for (auto &pair : *map)
		truth_cycle(reinterpret_cast<char *>(&pair) - 4 * sizeof(void *), map);
}

// Each shared_ptr brings a control block (its second word), which belongs to the ring as well.
PLANT void lose_shared_ring()
{
	struct Node {
		std::shared_ptr<Node> next;
		long value[4] = { 7, 7, 7, 7 };
	};
	Node *first = new Node;
	Node *second = new Node;

	first->next = std::shared_ptr<Node>(second, [](Node *) {});
	second->next = std::shared_ptr<Node>(first, [](Node *) {});
	truth_cycle(first, first);
	truth_cycle(second, first);
	truth_cycle(reinterpret_cast<void **>(&first->next)[1], first);
	truth_cycle(reinterpret_cast<void **>(&second->next)[1], first);
}

// The state of a running std::thread is held by the thread only.
PLANT void start_threads()
{
	std::string *text = new std::string(long_text);

	truth_live(text, "captured by a running std::thread");
	truth_live(text->data(), "captured by a running std::thread");
	std::thread([text] {
		for (;;)
			pause();
		delete text;
	}).detach();
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	keep_containers();
	keep_objects();
	lose_containers();
	lose_objects();
	lose_map();
	lose_shared_ring();
	start_threads();
	plant_serve(NULL);
}
