package beat

import (
	"slices"
	"testing"
)

// TestSeveral: several works at a time have one name, which the page keeps, and a counter
// each.
func TestSeveral(t *testing.T) {
	t.Parallel()
	p, err := New(make([]byte, Size))
	if err != nil {
		t.Fatal(err)
	}
	p.Init()
	w, ok := FindWorkload(Together([]string{"files", "kernel", "syscalls", "rcu-sync"}))
	if !ok || w.Name != "files+kernel+syscalls+rcu-sync" || w.Last || w.Naps || !w.Works() {
		t.Errorf("%+v, %v", w, ok)
	}
	if w, ok := FindWorkload("files+kernel"); !ok || !w.Last || w.Naps {
		t.Errorf("%+v, %v: both use the last vCPU", w, ok)
	}
	if w, ok := FindWorkload("files+opens"); !ok || w.Last || !w.Naps {
		t.Errorf("%+v, %v: both nap", w, ok)
	}
	p.Want(w)
	p.Complain("x")
	if p.Wanted() != w.Name || p.Runs(w) {
		t.Errorf("wanted %q, active %q", p.Wanted(), p.Active())
	}
	p.SetActive(p.Wanted())
	p.Want(Busy) // the names of the other works are gone
	if !p.Runs(w) || p.Wanted() != "busy" {
		t.Errorf("wanted %q, active %q", p.Wanted(), p.Active())
	}
	for n := range MaxWorks {
		for range n + 1 {
			p.Of(n).Work(1)
		}
	}
	p.Of(3).Beat(1)
	for n := range MaxWorks {
		if got := p.Units(n, 2); got != uint64(n+1) || p.Units(n, 1) != 0 {
			t.Errorf("work %d has %d units", n, got)
		}
	}
	if got := p.Count(1); got != (Count{1, 10}) || p.Count(0) != (Count{}) || p.Count(2) != (Count{}) {
		t.Errorf("all works together: %+v", got)
	}
	for _, bad := range []string{
		"busy+", "+busy", "busy+idle", "busy+busy", "busy+nosuch", "busy+opens+files+kernel+mutex",
	} {
		if w, ok := FindWorkload(bad); ok {
			t.Errorf("%q is %+v", bad, w)
		}
	}
	if got := Parts("busy"); !slices.Equal(got, []string{"busy"}) {
		t.Errorf("one work has the parts %q", got)
	}
}
