// Package names collects the names that a suite may use, from the packages that
// define them.
package names

import (
	"hangbench/bench/dom0"
	"hangbench/scenarios/suites"
)

// Suites returns the vocabulary of suites on a host that has these guest kernels,
// these sets of guest programs and these releases of Xen.
func Suites(kernels, programs, xens []string) suites.Vocabulary {
	return suites.NewVocabulary(dom0.Drivers(), kernels, programs, xens)
}
