package sign

import (
	"testing"
	"time"
)

// truthOf follows a guest with two works, which did so much in the 2 s before.
func (g *guest) truthOf(first, second uint64) *Truth {
	c := g.truth(10, first+second).Config
	c.Before.Works = []uint64{first, second}
	return NewTruth(c)
}

// do adds units of the n-th work.
func (g *guest) do(n, units int) {
	for range units {
		g.page.Of(n).Work(0)
	}
}

// TestSeveralStuck: one of two works that stops hangs the guest in part, and it goes on
// when both do.
func TestSeveralStuck(t *testing.T) {
	t.Parallel()
	g := newGuest(t, 1)
	tr := g.truthOf(200, 10) // the second takes 200 ms for a unit
	w := Stuck{}.Follow(tr)
	step := func(ns int64, second int) {
		g.do(0, 10)
		g.do(1, second)
		g.at(tr, ns)
	}
	step(500*millis, 1)
	step(1000*millis, 0)
	g.shown(tr, w, 1500*millis, false, 0)
	step(1600*millis, 0)
	g.shown(tr, w, 1700*millis, true, 500*millis)
	if since := tr.Since().Work; since != 31 {
		t.Errorf("%d units of both, want 31", since)
	}
	good := Stuck{}.Resumed(tr)
	g.do(0, 5)
	if good() {
		t.Error("the guest goes on, and one of its works does not")
	}
	g.do(1, 2)
	if !good() {
		t.Error("both works go on, and the guest does not")
	}
	tr.End(g.now)
	since, why := Stuck{}.Stood(tr, Bound{Length: time.Second, RemovedAt: g.now})
	if why != "" || since != tr.T0+500*millis {
		t.Errorf("stood since %d, %q", since-tr.T0, why)
	}
	if _, why := (Stuck{}).Stood(tr, Bound{Length: 10 * time.Second, RemovedAt: g.now}); why == "" {
		t.Error("a pause of a second shows a fault of ten")
	}
}

// TestSeveralSlow: one of two works that becomes slow shows, although the other one is by far
// the faster.
func TestSeveralSlow(t *testing.T) {
	t.Parallel()
	g := newGuest(t, 1)
	tr := g.truthOf(2000, 100)
	w := Slow{}.Follow(tr)
	g.do(0, 2000)
	g.do(1, 10)
	g.shown(tr, w, 2000*millis, false, 0) // a tenth of its pace
	g.do(0, 2000)
	g.do(1, 9)
	g.shown(tr, w, 4000*millis, true, 2000*millis)
}

// TestSeveralDisturbed: a disturbance of one of two works takes.
func TestSeveralDisturbed(t *testing.T) {
	t.Parallel()
	pace := func(works ...uint64) Pace {
		p := Pace{Window: 2 * time.Second, Works: works}
		for _, n := range works {
			p.Work += n
		}
		return p
	}
	for _, tc := range []struct {
		sign   Disturbance
		during Pace
		want   bool
	}{
		{Slow{}, pace(1000, 9), true}, {Slow{}, pace(1000, 10), false}, {Slow{}, pace(400, 20), true},
		{Stuck{}, pace(1000, 1), true}, {Stuck{}, pace(1000, 2), false}, {Stuck{}, pace(0, 20), true},
	} {
		why := tc.sign.Failed(Disturbed{CPUs: 1, Before: pace(1000, 20), During: tc.during})
		if (why == "") != tc.want {
			t.Errorf("%s, %v: %q", tc.sign, tc.during.Works, why)
		}
	}
}
