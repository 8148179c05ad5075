#!/bin/sh
# usage: submit.sh TASK [PARAMETERS]    prints a TaskResult; progress and log lines go to stderr
set -eu
url=${CTUTOR_API_URL:-http://127.0.0.1:8000}
task=$1
parameters=${2:-"{}"}

# The token goes through stdin: what stands in a command line, everybody on the machine can read.
ask() {
    printf 'header = "Authorization: Bearer %s"\n' "${CTUTOR_TOKEN-}" | sed '/Bearer "$/d' | curl -sS -K - "$@"
}

key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
answer=$(ask --retry 5 --retry-connrefused --json "{\"task_name\": \"$task\", \"parameters\": $parameters}" \
    -H "Idempotency-Key: $key" "$url/api/tasks/submit")
id=$(printf %s "$answer" | sed -n 's/^{"task_id":"\([^"]*\)".*/\1/p')
if [ -z "$id" ]; then
    printf '%s\n' "$answer" >&2
    exit 2
fi
ask -N "$url/api/tasks/$id/events" | sed -un 's/^data: *//p' >&2 # until the task is final

# 202: not yet. The server answers as soon as there is something to say.
while :; do
    result=$(ask --retry 5 --retry-connrefused -w '\n%{http_code}' "$url/api/tasks/$id/result?timeout=60")
    case $result in *202) ;; *) break ;; esac
done
printf '%s\n' "$result" | sed '$d'
case $result in *'
200') ;; *) exit 2 ;; esac
case $result in '{"task_id":"'$id'","task_name":"'$task'","status":"SUCCESS",'*) ;; *) exit 1 ;; esac
