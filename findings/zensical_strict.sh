#!/usr/bin/env bash
# A strict build of zensical accepts a navigation entry without its page and a picture that is not there.
#
# Guess before running: as in mkdocs, whose successor it is, --strict ends with an error for a link, a picture or a
# navigation entry that leads nowhere.
# Seen (0.0.73): a link to a page that does not exist ends the strict build with exit code 1; a picture that does not
# exist, and a page in `nav` that does not exist, end it with 0 and "No issues found". Check both in the built site.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check "zensical==0.0.73"
site() { # name, what nav has besides, what the page has besides
    mkdir -p "$1/docs"
    printf '[project]\nsite_name = "Example"\nnav = [{ "Home" = "index.md" }%s]\n' "$2" > "$1/zensical.toml"
    printf '# Home\n\n%s\n' "$3" > "$1/docs/index.md"
    code=0
    (cd "$1" && ../env/bin/zensical build --strict --clean > said.txt 2>&1) || code=$?
    printf '%-18s exit code %s, %s\n' "$1" "$code" "$(grep -icE 'no issues found' "$1/said.txt" || true) time(s) 'no issues found'"
    echo "$code" > "$1/code"
}
env/bin/zensical --version
site as-it-should-be '' 'Text.'
site missing-link '' '[a page](nope.md)'
site missing-picture '' '![a picture](nope.png)'
site missing-in-nav ', { "Gone" = "nope.md" }' 'Text.'
[[ $(cat as-it-should-be/code) == 0 ]]
[[ $(cat missing-link/code) == 1 ]]
[[ $(cat missing-picture/code) == 0 ]]
[[ $(cat missing-in-nav/code) == 0 ]]
