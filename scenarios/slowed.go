package scenarios

import "hangbench/scenarios/inject"

// capArg is an argument of a fault of a slow guest.
func capArg() Arg {
	return Arg{Name: "cap", Default: "0", Example: "5", Max: 99,
		Meaning: "percent of one physical CPU that all vCPUs together may use while the fault is there; 0 is no limit"}
}

// slowed puts the limit of capArg on a fault.
func (a args) slowed(f inject.Fault) inject.Fault {
	if percent := int(a.number("cap")); percent > 0 {
		return inject.Slowed(percent, f)
	}
	return f
}
