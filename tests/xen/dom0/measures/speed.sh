# What a guest's network costs under xl: each of our programs beside Debian's script, called by xl for tiny guests. With ICOUNT=1 the machine's
# clock counts instructions, so that the times can be repeated. Prints "TIME who program command calls median total", in microseconds: of the
# elapsed time where one guest comes after the other, of the processor's where ten come at a time (there each call waits for the others).
#
# Where there are no originals (/originals, by ORIGINALS=), there is nothing to compare with.
require "there are Debian's scripts to compare with" test -x /originals/vif-bridge
guests=
workers=
times=/run/test/times

# A `script=` that times another one. Only the inside is counted. xl hands no `antispoof` to the store, so this does.
timed() { # NAME PROGRAM [strict]
  wrapper "$1" <<WRAPPER
[ "$3 \$1" != "strict online" ] || xenstore-write "\$XENBUS_PATH/antispoof" strict
TIMEFORMAT='%U %S'
before=\$EPOCHREALTIME
{ time "$2" "\$@" </dev/null 2>/dev/null; } 2>$times.\$\$
status=\$?
after=\$EPOCHREALTIME
# Seconds with three decimals.
read -r user system <$times.\$\$
rm $times.\$\$
echo "$1 \$1 \$((\${after/./} - \${before/./})) \$(((10#\${user/./} + 10#\${system/./}) * 1000))" >>$times
exit \$status
WRAPPER
}

sum_up() { # WHO PROGRAM COLUMN: one line a command
  local command
  for command in online offline; do
    { grep "^timed-$1 $command " $times || :; } | awk -v column="$3" '{ print $column }' | sort -n |
      awk -v what="$1 $2 $command" '{ value[NR] = $1; sum += $1 } END { if (NR) print "TIME", what, NR, value[int((NR + 1) / 2)], sum }' >&3
  done
  : >$times
}

card() { # PROGRAM NUMBER WHO
  local ip="10.20.$(($2 / 200)).$(($2 % 200 + 1))"
  case $1 in
  vif-bridge) echo "script=timed-$3,bridge=xenbr0,ip=$ip 2001:db8::$2" ;;
  vif-route) echo "script=timed-$3,ip=$ip" ;;
  vif-nat | true) echo "script=timed-$3" ;;
  esac
}

share() { # WORKER ACTION: every tenth guest
  local number
  for number in $(seq "$1" $workers "$guests"); do
    case $2 in
    create) xl create -q -e "/run/test/measured$number.cfg" ;;
    destroy) xl destroy "measured$number" ;;
    esac
  done
}
all() { # ACTION
  local worker job jobs=() status=0
  for worker in $(seq $workers); do
    share "$worker" "$1" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || status=1; done
  return $status
}

measure() { # WHO PROGRAM FOLDER [strict]
  timed "timed-$1" "$3/$2" "${4:-}"
  : >$times
  guests=5 workers=1 # one after the other: what a call takes
  round "$1" "$2"
  sum_up "$1" "$2" 3
  guests=${MEASURED_GUESTS:-50} workers=10 # what they cost all together
  round "$1" "$2"
  sum_up "$1" "$2" 4
  rm -f "$scripts/timed-$1"
}

round() { # WHO PROGRAM
  local number before after
  for number in $(seq "$guests"); do tiny_guest "measured$number" "$(card "$2" "$number" "$1")"; done
  before=$EPOCHREALTIME
  check "$1 $2: $guests guests are created, $workers at a time" all create
  after=$EPOCHREALTIME
  echo "TIME $1 $2 xl-create $guests 0 $((${after/./} - ${before/./}))" >&3
  [ "$1" = nothing ] || check "$1 $2: all are connected" equal "$guests" "$(xenstore-ls -f backend/vif | grep -c '/hotplug-status = "connected"$')"
  check "$1 $2: all are destroyed" all destroy
}

# What starting a process costs here, from bash as the wrappers do.
: >$times
for _ in $(seq 20); do
  before=$EPOCHREALTIME
  /bin/true
  after=$EPOCHREALTIME
  echo "timed-bash online $((${after/./} - ${before/./}))" >>$times
done
sum_up bash /bin/true 3

new_lan
new_bridge xenbr0 10.20.255.1/16
for program in ${MEASURED_PROGRAMS:-vif-bridge vif-route vif-nat}; do
  measure ours "$program" "$scripts" strict
  measure original "$program" /originals
done
delete_bridge xenbr0
delete_lan
# A program that does nothing: less than this share of the scripts' time nobody can have.
measure nothing true /bin
