# SPDX-License-Identifier: MIT
"""The C libraries of other Debian suites, unpacked beside the system and never over it.

`fetch-glibc` brings them into BUILD/glibc/SUITE through apt, with its own configuration folder,
from the mirror that this machine's apt already uses; apt checks the Release file against Debian's
keyring, and the packages against the Release. `drive --glibc=SUITE` builds programs against one
of them and runs them with its own loader.
"""
import glob
import os
import platform
import shutil
import subprocess

import planted
from planted import Skip

# Suite and the glibc that it is there for. The last one moves on with the distribution.
SUITES = {"bullseye": "2.31", "bookworm": "2.36", "trixie": "2.41", "sid": "2.43 or newer"}
PACKAGES = ("libc6", "libc6-dev", "libgcc-s1", "libstdc++6", "linux-libc-dev")
# The host's libgcc.a may ask for more than the oldest glibc has.
MORE_PACKAGES = {"bullseye": ("libgcc-10-dev",)}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
TRIPLET = "x86_64-linux-gnu"


class Glibc:
    def __init__(self, name, root):
        self.name = name
        self.root = root
        self.libraries = [os.path.join(root, folder, TRIPLET) for folder in ("lib", "usr/lib")]

    def loader(self):
        return os.path.join(self.root, "lib64", "ld-linux-x86-64.so.2")

    def compile_flags(self, flavour):
        """-B and -L come before the compiler's own folders, which --sysroot leaves in place."""
        compiler = glob.glob(os.path.join(self.root, "usr/lib/gcc", TRIPLET, "*"))
        flags = ["--sysroot=" + self.root]
        for folder in self.libraries + compiler:
            flags += ["-B" + folder, "-L" + folder]
        if flavour:
            return flags
        return flags + ["-Wl,--dynamic-linker=" + self.loader(), "-Wl,--disable-new-dtags",
                        "-Wl,-rpath=" + ":".join(self.libraries)]

    def version(self):
        text = subprocess.run([self.loader(), "--library-path", ":".join(self.libraries),
                               os.path.join(self.libraries[0], "libc.so.6")],
                              stdout=subprocess.PIPE, text=True, check=True).stdout
        return text.splitlines()[0].split("version ")[1].rstrip(".")


def root_of(suite):
    return os.path.join(planted.BUILD, "glibc", suite)


def unpacked(suite):
    root = root_of(suite)
    if not os.path.exists(os.path.join(root, "complete")):
        fetch(suite)
    return Glibc(suite, root)


# Fetching

def run_quietly(command, cwd=None):
    """Returns its output; what cannot be fetched is a reason to skip, not a failure."""
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
    if done.returncode:
        lines = done.stdout.strip().splitlines()[-3:]
        raise Skip("%s: %s" % (command[0], " ".join(lines)))
    return done.stdout


def mirror():
    """The address of Debian's main archive in this machine's apt configuration."""
    rows = run_quietly(["apt-get", "indextargets", "--format",
                        "$(REPO_URI) $(COMPONENT) $(LABEL)", "Created-By: Packages"])
    for row in rows.splitlines():
        words = row.split()
        if words[1:] == ["main", "Debian"]:
            return words[0]
    raise Skip("apt is not set up for Debian's archive, or `apt-get update` has never been run")


def apt_options(folder, suite):
    for name in ("etc/preferences.d", "etc/apt.conf.d", "etc/sources.list.d", "lists/partial",
                 "cache/archives/partial"):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    open(os.path.join(folder, "status"), "w").close()
    with open(os.path.join(folder, "etc/sources.list"), "w") as text:
        text.write("deb [signed-by=%s] %s %s main\n" % (KEYRING, mirror(), suite))
    places = {"Dir::Etc": "etc", "Dir::State::lists": "lists", "Dir::State::status": "status",
              "Dir::Cache": "cache"}
    options = ["%s=%s" % (key, os.path.join(folder, name)) for key, name in places.items()]
    options += ["APT::Architecture=amd64", "APT::Architectures=amd64", "Acquire::Languages=none",
                "Acquire::PDiffs=false", "APT::Sandbox::User=root", "Acquire::Retries=2",
                "Acquire::http::Timeout=20"]
    return [word for option in options for word in ("-o", option)]


def make_links_relative(root):
    """An absolute link inside the tree would lead into the system's own libraries."""
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            target = os.readlink(path) if os.path.islink(path) else ""
            if target.startswith("/"):
                os.unlink(path)
                os.symlink(os.path.relpath(root + target, folder), path)


def complete_layout(root):
    """Newer packages come for a merged /usr, and leave /lib and /lib64 to another package."""
    for name in ("lib", "lib64"):
        if not os.path.exists(os.path.join(root, name)):
            os.symlink("usr/" + name, os.path.join(root, name))
    # For the linker, which would take the host compiler's own.
    os.symlink("libstdc++.so.6", os.path.join(root, "usr/lib", TRIPLET, "libstdc++.so"))
    make_links_relative(root)


def fetch(suite):
    if platform.machine() != "x86_64":
        raise Skip("the matrix is for x86-64")
    for command in ("apt-get", "dpkg-deb"):
        planted.skip_unless(command)
    if not os.path.exists(KEYRING):
        raise Skip("no " + KEYRING)
    root = root_of(suite)
    working = "%s.%d" % (root, os.getpid())
    options = apt_options(os.path.join(working, "apt"), suite)
    try:
        run_quietly(["apt-get", *options, "update", "--error-on=any"])
        run_quietly(["apt-get", *options, "download", *PACKAGES,
                     *MORE_PACKAGES.get(suite, ())], cwd=working)
        for package in glob.glob(os.path.join(working, "*.deb")):
            run_quietly(["dpkg-deb", "-x", package, os.path.join(working, "root")])
        complete_layout(os.path.join(working, "root"))
        open(os.path.join(working, "root", "complete"), "w").close()
        shutil.rmtree(root, ignore_errors=True)
        os.rename(os.path.join(working, "root"), root)
    finally:
        shutil.rmtree(working, ignore_errors=True)
