# Twenty guests created at once, and destroyed at once.
guests=20
new_bridge xenbr0 10.0.0.1/24
remember without-guest

create_all() {
  local number job jobs=() status=0
  for number in $(seq $guests); do
    tiny_guest "tiny$number" "bridge=xenbr0"
    create "tiny$number" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || status=1; done
  return $status
}
all_connected() {
  local number status
  for number in $(seq $guests); do
    status=$(xenstore-read "$(backend_of "tiny$number")/hotplug-status")
    [ "$status" = connected ] || { echo "tiny$number: hotplug-status is '$status'"; return 1; }
    is_port "$(vif_of "tiny$number")" xenbr0 || return 1
  done
}
destroy_all() {
  local number
  for number in $(seq $guests); do xl destroy "tiny$number" & done
  wait
}

check "every xl create succeeds" create_all
check "every vif is connected and a port of the bridge" all_connected
check "the bridge has exactly $guests ports" equal $guests "$(guest_ports_of xenbr0)"
check "every xl destroy ends" destroy_all
check "nothing is left of the guests" unchanged_since without-guest

delete_bridge xenbr0
