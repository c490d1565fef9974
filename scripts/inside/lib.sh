# shellcheck shell=bash disable=SC2034
# Sourced by the other scripts: paths, messages and shared functions.

set -euo pipefail

# The project's root; every script may be called from any folder.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tree=$top/subprojects/libvirt
patch_folder=$top/patches/libvirt
build=$top/build

# A checkout stays its owner's also when a script runs as root: as_owner runs what
# fetches and builds, and the cache is the owner's.
owner=$(stat -c %u "$top")
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    HOME=$(getent passwd "$owner" | cut -d: -f6)
    unset XDG_CACHE_HOME
    # or else git refuses to look at what is somebody else's
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/libvirt-tpm-pool

as_owner() {
    if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
        HOME=$HOME setpriv --reuid "$owner" --regid "$(stat -c %g "$top")" --init-groups "$@"
    else
        "$@"
    fi
}

# give_back PATH...: what root has made becomes the owner's. Not the whole cache: the trees
# of packages and hosts belong to root.
give_back() {
    [ "$(id -u)" != 0 ] || chown -R "$owner" "$@"
}

# The distribution's programs first, above all its Python: scripts/setup gives that
# one the modules it needs.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

# A clone in another folder shall find what this one compiled.
export CCACHE_NOHASHDIR=1

# Where a sandbox shows the swtpm that it is given by --swtpm: a program's loader is
# named by its whole path.
swtpm_place=/usr/lib/libvirt-sandbox-swtpm

me=${0##*/}

say() { printf '%s: %s\n' "$me" "$*" >&2; }

die() { say "error: $*"; exit 1; }

# usage TEXT "$@": print TEXT and end when --help or -h is among the arguments.
usage() {
    local text=$1 arg
    shift
    for arg; do
        case $arg in
            --) return 0 ;;
            -h|--help) printf '%s\n' "$text"; exit 0 ;;
        esac
    done
}

need_root() {
    [ "$(id -u)" = 0 ] || die "needs root: run it with sudo"
}

# Our own files that stand in libvirt's tree, relative to the project's root.
own_files() {
    (cd "$top" && git ls-files --cached --others --deduplicate --exclude-standard -- src docs tests tools |
        while read -r file; do
            [ ! -e "$file" ] || printf '%s\n' "$file"
        done)
}

# git_in FOLDER ARGUMENT...: git, with an identity and settings that do not depend on
# whoever runs it.
git_in() {
    git -C "$1" \
        -c user.name='libvirt tpm pool' -c user.email='tpm-pool@localhost' \
        -c commit.gpgsign=false -c core.autocrlf=false -c gc.auto=0 \
        -c advice.detachedHead=false "${@:2}"
}

# git in libvirt's tree.
tree_git() {
    git_in "$tree" "$@"
}

# The patch files, in order, as absolute paths.
patch_files() {
    local name
    while read -r name; do
        case $name in
            ''|\#*) continue ;;
        esac
        [ -f "$patch_folder/$name" ] || die "patches/libvirt/series names $name, which is not there"
        printf '%s\n' "$patch_folder/$name"
    done < "$patch_folder/series"
}

# What tells whether patches/libvirt/ is what the tree was last made from or exported to.
patches_id() {
    patch_files | xargs -r -d '\n' cat | sha256sum | cut -d' ' -f1
}

# archives [LABEL]: those of the machine's own package configuration that are Debian's,
# or those with another label, such as Debian-Security.
archives() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
        sed -n "s/^${1:-Debian}|//p" | sort -u
}

# Who signs the distribution's archive.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# suite_sources SUITE: where apt finds the packages of a suite, as a source list.
suite_sources() {
    local archive part parts=("$1" "$1-updates")
    [ "$1" != bookworm ] || parts+=(bookworm-backports)
    for archive in $(archives); do
        for part in "${parts[@]}"; do
            printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$archive" "$part"
        done
    done
    for archive in $(archives Debian-Security); do
        printf 'deb [signed-by=%s] %s %s-security main\n' "$keyring" "$archive" "$1"
    done
}

# small_system ARGUMENT...: mmdebstrap, as root. What it mounts in the new tree is seen by
# itself only, and ends with it also where it is killed.
small_system() {
    unshare --mount mmdebstrap --quiet --mode=root \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
        --dpkgopt=path-exclude='/usr/share/man/*' --dpkgopt=path-exclude='/usr/share/locale/*' "$@"
}

# remove_systems TREE...: removes what small_system has made. Should something be mounted
# there, such as the machine's /sys, it stays, and this fails.
remove_systems() {
    rm -rf --one-file-system -- "$@"
}

# listed FOLDER: the packages of a repository, as its Packages names them and sha256sum
# checks them. It fails where a package is not in FOLDER itself, or has no SHA-256.
listed() {
    awk -v RS= -F '\n' '{
        sum = name = ""
        for (i = 1; i <= NF; i++) {
            if ($i ~ /^SHA256: /) sum = substr($i, 9)
            if ($i ~ /^Filename: /) name = substr($i, 11)
        }
        sub(/^\.\//, "", name)
        if (length(sum) != 64 || sum ~ /[^0-9a-f]/ || name !~ /^[A-Za-z0-9][A-Za-z0-9+.:~_%-]*\.deb$/)
            exit 1
        print sum "  " name
    }' "$1/Packages"
}

# fetch_source ARCHIVE SUITE DIR TRUST OPTION: what the option --tar-only or --diff-only
# of apt-get source gives of libvirt, into DIR. Source list and index live in DIR: the
# machine's configuration is not touched. TRUST is what a source list says of the
# archive: trusted=yes, or signed-by=KEYRING.
fetch_source() {
    local dir=$3/apt opts

    mkdir -p "$dir/lists/partial"
    echo "deb-src [$4] $1 $2 main" > "$dir/sources.list"
    opts=(-qq -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=-
          -o "Dir::State::Lists=$dir/lists" -o Dir::Cache::srcpkgcache=
          -o Dir::Cache::pkgcache= -o APT::Sandbox::User=root)
    apt-get "${opts[@]}" update || return 1
    (cd "$3" && apt-get "${opts[@]}" source --download-only "$5" libvirt)
}

# wrap KEY: a value of the pin.
wrap() {
    sed -n "s/^$1 *= *//p" "$top/subprojects/libvirt.wrap"
}

# sanitized FOLDER SANITIZERS: set up a build folder whose programs have sanitizers.
# With them gcc has warnings of its own, which shall stop nobody.
sanitized() {
    local said
    [ ! -f "$1/build.ninja" ] || return 0
    said=$(as_owner meson setup "$1" "$top" "-Db_sanitize=$2" -Db_lundef=false \
        -Dlibvirt:git_werror=disabled) ||
        { printf '%s\n' "$said"; die "cannot set up $1"; }
}
