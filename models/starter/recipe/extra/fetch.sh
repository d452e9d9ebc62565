#!/bin/bash
# Fetches and unpacks the sources of the extra rows into DATA, on Debian 12.
# Usage: fetch.sh DATA, after: apt-get update -o Acquire::Languages=en
# Needs apt-get, npm, dpkg, unzip and xz. The package lists lie beside this file.
set -u
here=$(cd "$(dirname "$0")" && pwd)
data=${1:?usage: fetch.sh DATA}
mkdir -p "$data"/debs/{go,rust,misc} "$data"/npm "$data"/pj "$data"/x/{go,rust,npm,misc,jdk,linux}
cd "$data" || exit 1
data=$PWD

# Packages that could not be fetched are named in *.err; the rest is enough.
(
  cd debs/go || exit 1
  apt-get download -q golang-1.19-src
  xargs -a "$here/debian-go.list" -n 60 -P 3 apt-get download -q >/dev/null 2>../go.err
)
(cd debs/rust && xargs -a "$here/debian-rust.list" -n 60 -P 3 apt-get download -q >/dev/null 2>../rust.err)
(cd debs/misc && xargs -a "$here/debian-misc.list" -n 12 -P 3 apt-get download -q >/dev/null 2>../misc.err)
(
  cd npm || exit 1
  # these were left out
  grep -vE '^(closure-library|extjs-gpl|yui|@yui/core|marionette|msal|hapi|prisma|ckeditor5)$' "$here/npm.list" |
    xargs -n 6 -P 4 sh -c '
      for package in "$@"; do
        npm pack --silent --ignore-scripts "$package" >/dev/null 2>&1 || echo "fail $package" >>../npm.err
      done' _
)

for kind in go rust misc; do
  for file in debs/$kind/*.deb; do
    dpkg -x "$file" "x/$kind" 2>/dev/null
  done
done

for file in npm/*.tgz; do
  name=$(basename "$file" .tgz)
  mkdir -p "x/npm/$name"
  tar -xzf "$file" -C "x/npm/$name" --wildcards --no-anchored \
    '*.js' '*.mjs' '*.ts' '*.tsx' '*.jsx' '*.mts' --exclude='*.min.js' 2>/dev/null
  tar -xzOf "$file" package/package.json >"pj/$name.json"
done

java=$(find "$data/x/misc" -name src.zip | head -1)
(
  cd x/jdk || exit 1
  unzip -q -o "$java" 'java.base/*' 'java.desktop/*' 'java.xml/*' 'java.sql/*' 'java.net.http/*' 'java.compiler/*' \
    'java.naming/*' 'java.logging/*' 'java.management/*' 'java.rmi/*' 'jdk.compiler/*' 'jdk.javadoc/*' 'jdk.jfr/*' \
    'jdk.jshell/*' 'jdk.jartool/*' 'jdk.jdi/*' 'jdk.net/*' 'jdk.httpserver/*' 'java.prefs/*' 'java.security*/*'
)

linux=$(find x/misc -name linux-source-6.1.tar.xz | head -1)
xz -dc -T2 "$linux" | tar -xf - -C x/linux --wildcards \
  '*/kernel/*.c' '*/lib/*.c' '*/mm/*.c' '*/fs/*.c' '*/net/*.c' '*/block/*.c' '*/crypto/*.c' '*/security/*.c' \
  '*/include/linux/*.h' '*/include/net/*.h' '*/include/drm/*.h' '*/sound/core/*.c' '*/drivers/base/*.c' \
  '*/drivers/gpu/drm/*.c' '*/drivers/usb/*.c' '*/drivers/net/*.c' '*/drivers/scsi/*.c' '*/drivers/media/*.c' \
  '*/drivers/pci/*.c' '*/drivers/infiniband/*.c' 2>/dev/null

apt-cache dumpavail >avail.txt
/usr/lib/apt/apt-helper cat-file /var/lib/apt/lists/*bookworm_main_i18n_Translation-en.lz4 >trans.txt
