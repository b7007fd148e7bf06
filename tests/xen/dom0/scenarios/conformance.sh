# The suite of client-visible XenStore behaviour that the embedded store of the other tests passes, against the real xenstored.
require "the conformance program is there" test -x /tests/xenstore-conformance
complaints() { /tests/xenstore-conformance 2>&1 | grep -v '^PASS '; return "${PIPESTATUS[0]}"; }
check "the real xenstored conforms" complaints
