# curl_fetch.sh URL FOLDER OPTION...: lists all messages in one session; fetches and deletes each in a second one.
set -eu
url=$1 folder=$2
shift 2
list=$(curl "$@" "$url/")
options="$*"
next=--fail-early
set --
for number in $(printf '%s\n' "$list" | sed 's/[^0-9].*//'); do
    # each transfer has options of its own
    set -- "$@" $next $options --remove-on-error -o "$folder/$$.$number" "$url/$number"
    set -- "$@" --next $options --head -X DELE -o /dev/null "$url/$number"
    next=--next
done
[ $# -eq 0 ] || exec curl "$@"
