# Twenty guests: created five at a time, connected all at once, destroyed all at once.
# More than five xl create at a time would test nothing more: xl's own lock lets one at a time build its guest and run its programs, and
# those that wait look up at every change of the store, which takes long under emulation. xl destroy has no such lock.
guests=20
workers=5
new_bridge xenbr0 10.0.0.1/24
remember without-guest

create_share() { # WORKER: every fifth guest
  local number
  for number in $(seq "$1" $workers $guests); do
    tiny_guest "tiny$number" "bridge=xenbr0"
    xl create -q -e "/run/test/tiny$number.cfg" # -e: no background xl for each, for the same reason
  done
}
create_all() {
  local worker job jobs=() status=0
  for worker in $(seq $workers); do
    create_share "$worker" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || status=1; done
  return $status
}
in_store() { xenstore-ls -f backend/vif | grep -c "$1" || :; } # REGEX
destroy_all() {
  local number job jobs=() status=0
  for number in $(seq $guests); do
    xl destroy "tiny$number" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || status=1; done
  return $status
}

check "every xl create succeeds" create_all
check "every hotplug-status is connected" equal $guests "$(in_store '/hotplug-status = "connected"$')"
check "there is no hotplug-error" equal 0 "$(in_store /hotplug-error)"
check "every vif is a port of the bridge" equal $guests "$(guest_ports_of xenbr0)"
check "every xl destroy succeeds" destroy_all
check "nothing is left of the guests" unchanged_since without-guest

delete_bridge xenbr0
