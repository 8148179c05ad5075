#!/bin/sh
# build.sh OUT NODE_MODULES: bundles the dashboard into OUT/*.gz. NODE_MODULES "": there are no packages; then the
# script and the style are empty, and the program shows its plain pages instead.
set -eu
here=$(dirname "$0")
out=$1 modules=$2
mkdir -p "$out"
: >"$out/app.js" && : >"$out/app.css"
if [ -n "$modules" ]; then
    NODE_PATH=$modules "$modules/.bin/esbuild" "$here/main.js" --bundle --minify --format=iife --target=es2020 --charset=utf8 --legal-comments=none \
        --log-level=warning --outfile="$out/app.js"
fi
cp "$here/index.html" "$here/plain.css" "$here/icon.svg" "$out/"
for name in app.js app.css plain.css index.html icon.svg; do
    gzip -9nc "$out/$name" >"$out/$name.gz"
done
