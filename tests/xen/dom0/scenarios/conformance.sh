# The suite of client-visible XenStore behaviour that the embedded store of the other tests passes, against the real xenstored.
require "the conformance program is there" test -x /tests/xenstore-conformance
check "the real xenstored conforms" logged conformance /tests/xenstore-conformance
