package postern

import rego.v1

signers := {s.signer | some s in input.signatures}

default allow := false

allow if {
	count(signers) >= 1
	every s in input.signatures { regex.match(`^[a-z]+$`, s.signer) }
	not late(input.time_ns)
}

late(time) if time > time_of("1970-01-02T00:00:00Z")

time_of(text) := time.parse_rfc3339_ns(text)

deny contains sprintf("%s is not asked", [a.predicate_type]) if {
	some a in input.attestations
	not startswith(lower(a.predicate_type), "https://")
}
