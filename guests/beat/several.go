package beat

import (
	"slices"
	"strings"
	"sync/atomic"
)

// MaxWorks is the largest number of workloads that run at a time.
const MaxWorks = 4

// and stands between the names of workloads that run at a time, in the name of all.
const and = "+"

// Together returns the name of several workloads that run at a time.
func Together(names []string) string { return strings.Join(names, and) }

// Parts returns the names of the workloads that run at a time under a name: that one name
// if it is of one.
func Parts(name string) []string { return strings.Split(name, and) }

// several returns the workload that is several at a time. It returns false if one of them
// does not exist, is Idle or is named twice, or if there are more than MaxWorks.
func several(names []string) (Workload, bool) {
	all := Workload{Name: Together(names), Naps: true, Last: true, Unit: "a unit of one of the works"}
	if len(names) > MaxWorks {
		return Workload{}, false
	}
	for i, name := range names {
		w, ok := FindWorkload(name)
		if !ok || !w.Works() || slices.Contains(names[:i], name) {
			return Workload{}, false
		}
		all.Naps, all.Last = all.Naps && w.Naps, all.Last && w.Last
	}
	return all, true
}

// Of returns the page for a process that does the n-th of the workloads that run at a time,
// from 0 to MaxWorks-1.
func (p *Page) Of(n int) *Page { return &Page{p.b, n} }

// Units returns how many units of the n-th workload the first cpus vCPUs have done.
func (p *Page) Units(n, cpus int) (units uint64) {
	for cpu := range min(cpus, MaxCPUs) {
		units += atomic.LoadUint64(p.unit(cpu, n))
	}
	return units
}

// setNames stores the parts of a name: the first at one offset and the others at another.
func (p *Page) setNames(first, more int, name string) {
	var words [MaxWorks]uint64
	for i, part := range Parts(name) {
		words[i] = pack(part)
	}
	for i, w := range words[1:] {
		atomic.StoreUint64(p.word(more+8*i), w)
	}
	// Last: whoever finds it changed finds the others.
	atomic.StoreUint64(p.word(first), words[0])
}

// names returns the name whose parts setNames has stored.
func (p *Page) names(first, more int) string {
	parts := []string{unpack(atomic.LoadUint64(p.word(first)))}
	for i := range MaxWorks - 1 {
		if w := atomic.LoadUint64(p.word(more + 8*i)); w != 0 {
			parts = append(parts, unpack(w))
		}
	}
	return Together(parts)
}
