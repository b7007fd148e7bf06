# A bridge that does not exist: xl create fails, and says why in the words the program left in hotplug-error.
observer vif-bridge-observed
remember without-guest

tiny_guest lost "bridge=nosuchbr,script=vif-bridge-observed"
check "xl create fails" not create lost
check "the program exits with 1 and hotplug-status is error" grep -Fx "online exit=1 status=error" /run/test/observed
sentence=$(cat /run/test/sentence 2>/dev/null || true)
check "hotplug-error names the bridge" contains "$sentence" nosuchbr
check "xl prints the sentence of hotplug-error" grep -F "${sentence:-no sentence}" /run/test/xl-lost.log
check "syslog has the sentence" grep -F "${sentence:-no sentence}" /var/log/messages
check "the guest is gone" not domain_exists lost
check "nothing is left" unchanged_since without-guest

rm -f "$scripts/vif-bridge-observed"
