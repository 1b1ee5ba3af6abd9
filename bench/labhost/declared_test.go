package labhost_test

import (
	"slices"
	"testing"
	"time"

	"hangbench/bench/names"
	"hangbench/bench/plan"
	"hangbench/guests/lab"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// declaring declares a fault of each sort that no scenario of the program has, with each
// work that is there for them.
const declaring = `name: declared
faults:
  - {name: inode-hash, hold: {spinlock: inode_hash_lock}, work: inodes, class: spin}
  - {name: cgroups-held, hold: {mutex: cgroup_mutex}, work: inodes, class: blocked}
  - {name: mounts-held, hold: {rwsem: namespace_sem}, work: mounts, class: blocked}
  - {name: open-loops, loop: {function: do_filp_open}, work: opens, class: soft}
  - {name: slow-open, delay: {function: do_filp_open, ms: 1500}, work: opens, class: none}
scenarios: all-declared
mechanisms: [exec-altp2m]
guests: [{kernel: cloud-6.12, vcpus: 1, memory_mib: 160}]
repetitions: 1
`

// TestDeclared: faults that nobody wrote Go for hang a guest, are seen and called by their
// class, and are removed; the control is clean. The short form takes the first.
func TestDeclared(t *testing.T) {
	ctx, h := openLab(t, 70*time.Second)
	s, err := suites.Parse("declared.yaml", []byte(declaring),
		names.Suites(lab.GuestKernels(), lab.GuestPrograms(), lab.Xens()))
	if err != nil {
		t.Fatal(err)
	}
	trials := plan.Expand(s, 1)
	slices.SortFunc(trials, func(a, b plan.Trial) int {
		return slices.Index(s.Scenarios, a.Scenario) - slices.Index(s.Scenarios, b.Scenario)
	})
	if !all() {
		trials = trials[:1]
	}
	for _, p := range trials {
		sc, err := scenarios.OfCell(p.Cell)
		if err != nil {
			t.Fatal(err)
		}
		tr := h.trial(t, ctx, p)
		want := results.Detected
		if sc.Control() {
			want = results.Clean
		}
		if tr.Outcome != want || tr.Class != sc.Class || tr.Declared != p.Declared {
			t.Errorf("%s: %s (%s), class %q of %s; want %s, class %q", sc.ID, tr.Outcome, tr.Reason, tr.Class, tr.Declared,
				want, sc.Class)
		}
		if !sc.Control() && (tr.Recovered == nil || !*tr.Recovered) {
			t.Errorf("%s: the guest did not recover", sc.ID)
		}
	}
}
