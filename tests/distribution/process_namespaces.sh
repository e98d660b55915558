# Two processes in two network namespaces; run within a third one, which it may change.
# After a few steps the cable between them is cut.
set -e
unshare -n sleep 300 &
sleeper=$!
trap 'kill $sleeper' EXIT
while [ "$(readlink /proc/$sleeper/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do
    sleep 0.1
done
ip link add first type veth peer name second netns $sleeper
ip address add 10.99.0.1/24 dev first
ip link set first up
ip link set lo up
nsenter -t $sleeper -n sh -c \
    "ip address add 10.99.0.2/24 dev second; ip link set second up; ip link set lo up"

export DTENSOR_JOBS=10.99.0.1:24001,10.99.0.2:24001
DTENSOR_CLIENT_ID=1 nsenter -t $sleeper -n \
    "$PYTHON" -m tests.distribution.process_loop 60 > "$OUT/1" 2>&1 &
second=$!
DTENSOR_CLIENT_ID=0 "$PYTHON" -m tests.distribution.process_loop 60 > "$OUT/0" 2>&1 &
first=$!
until grep -q "Step 3" "$OUT/0"; do
    kill -0 $first $second
    sleep 0.2
done
ip link set first down
for process in $first $second; do
    wait $process || echo "status $?"
done
