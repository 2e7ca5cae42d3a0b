# What the parts of image/build agree on. Sourced.

# Where trees, tools and packages are kept: some 3 GB an architecture.
WORK=${IMAGE_WORK:-$PWD/target/image}
TOOLS=$WORK/tools
OUT=${IMAGE_OUT:-$WORK/out}
VERSION=${IMAGE_VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

SUITE=trixie
# Debian's archive, and that of its security team: those that this machine uses, whatever release it has itself.
archive_of() { apt-get indextargets --format '$(SITE) $(ORIGIN) $(LABEL)' 2>/dev/null | awk -v label="$1" '{site=$1; sub(/^[^ ]* Debian /, "")} $0 == label {print site; exit}'; }
MIRROR=${IMAGE_MIRROR:-$(archive_of Debian)}
SECURITY=${IMAGE_SECURITY:-$(archive_of Debian-Security)}
[[ -n $MIRROR && -n $SECURITY ]] || { printf 'image/build: set IMAGE_MIRROR and IMAGE_SECURITY to archives of Debian\n' >&2; exit 1; }

# MiB. After the first release nobody can change the size of a slot.
BOOT_MIB=256 SLOT_MIB=512 DATA_MIB=64

fail() { printf 'image/build: %s\n' "$*" >&2; exit 1; }
say() { printf '== %s\n' "$*"; }

# lines FILE…: what stands in them, without comments and empty lines.
lines() { sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$@"; }

# names of an architecture: Debian's, systemd's, the kernel package, and the console of its serial port
architecture() {
  ARCH=$1
  case $ARCH in
  x86_64) DEBIAN=amd64 EFI=x64 ROOT_TYPE=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709 SERIAL=ttyS0,115200 LOADER=x86_64-linux-gnu/ld-linux-x86-64.so.2 ;;
  arm64) DEBIAN=arm64 EFI=aa64 ROOT_TYPE=B921B045-1DF0-41C3-AF44-4C6F280D3FAE SERIAL=ttyAMA0,115200 LOADER=aarch64-linux-gnu/ld-linux-aarch64.so.1 ;;
  *) fail "no such architecture: $ARCH (there are x86_64 and arm64)" ;;
  esac
  TREE=$WORK/tree-$ARCH
  PROGRAM=${FRONTDESK_PROGRAM:-target/static/${ARCH/arm64/aarch64}/frontdesk}
}
