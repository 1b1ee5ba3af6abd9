package sign

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"hangbench/guests/beat"
)

const (
	second = int64(time.Second)
	millis = int64(time.Millisecond)
)

// guest is a page of counters and a clock that the test moves.
type guest struct {
	t    *testing.T
	page *beat.Page
	cpus int
	now  int64
	how  string
	err  error
}

func newGuest(t *testing.T, cpus int) *guest {
	t.Helper()
	words := make([]uint64, beat.Size/8) // aligned as the page must be
	page, err := beat.New(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), beat.Size))
	if err != nil {
		t.Fatal(err)
	}
	page.Init()
	g := &guest{t: t, page: page, cpus: cpus, now: 100 * second}
	// The guest has lived for a while: no counter is 0.
	g.beat(7)
	g.work(50)
	return g
}

// beat adds heartbeats of all vCPUs, or of those that are named.
func (g *guest) beat(n int, cpus ...int) {
	for cpu := range g.cpus {
		for range n {
			if len(cpus) == 0 || slices.Contains(cpus, cpu) {
				g.page.Beat(cpu)
			}
		}
	}
}

func (g *guest) work(n int) {
	for range n {
		g.page.Work(0)
	}
}

// truth follows the guest from now on. In a window of 2 s before it had that many
// heartbeats in all, and did that much work.
func (g *guest) truth(beats, work uint64) *Truth {
	return NewTruth(Config{
		Page: g.page, CPUs: g.cpus, Now: func() int64 { return g.now }, Ended: func() (string, error) { return g.how, g.err },
		T0: g.now, Before: Pace{Count: beat.Count{Beats: beats, Work: work}, Window: 2 * time.Second},
	})
}

// at moves the clock to so many nanoseconds after the fault and has the truth look.
func (g *guest) at(t *Truth, ns int64) int64 {
	g.now = t.T0 + ns
	t.Look(g.now)
	return g.now
}

// shown fails the test unless the watch shows the sign, or not, since so many
// nanoseconds after the fault.
func (g *guest) shown(t *Truth, w Watch, ns int64, want bool, since int64) {
	g.t.Helper()
	got, at, err := w.Shown(g.at(t, ns))
	if err != nil || got != want || want && at-t.T0 != since {
		g.t.Errorf("after %v: shown %v since %v (%v), want %v since %v", time.Duration(ns), got, time.Duration(at-t.T0), err,
			want, time.Duration(since))
	}
}

// refuted fails the test unless the watch gives this reason.
func (g *guest) refuted(t *Truth, w Watch, want string) {
	g.t.Helper()
	if got := w.Refuted(g.now); got != want {
		g.t.Errorf("refuted by %q, want %q", got, want)
	}
}

// TestGaps: how long a healthy guest may be silent follows from its pace before the
// fault, and is never below six heartbeats.
func TestGaps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cpus                int
		beats, work         uint64
		wantBeats, wantWork time.Duration
	}{
		{1, 10, 200, 1200 * time.Millisecond, 1200 * time.Millisecond},
		{1, 100, 10, 1200 * time.Millisecond, 1200 * time.Millisecond},
		{1, 2, 4, 6 * time.Second, 3 * time.Second},
		{2, 4, 4, 6 * time.Second, 3 * time.Second},
		{1, 0, 0, 12 * time.Second, 12 * time.Second},
		{1, 8, 8, 1500 * time.Millisecond, 1500 * time.Millisecond},
	} {
		tr := newGuest(t, tc.cpus).truth(tc.beats, tc.work)
		if tr.beatGap != int64(tc.wantBeats) || tr.workGap != int64(tc.wantWork) {
			t.Errorf("%+v: gaps %v and %v", tc, time.Duration(tr.beatGap), time.Duration(tr.workGap))
		}
	}
}

func TestSilent(t *testing.T) {
	t.Parallel()
	g := newGuest(t, 1)
	s := Silent{Every}
	tr := g.truth(10, 0)
	w := s.Follow(tr)
	g.shown(tr, w, 0, false, 0)
	g.shown(tr, w, 1200*millis-1, false, 0)
	g.refuted(tr, w, "the guest's heartbeat went on after the fault: 0 beats in 1199 ms")
	g.shown(tr, w, 1200*millis, true, 0)
	g.beat(3)
	g.shown(tr, w, 1300*millis, false, 0)
	g.refuted(tr, w, "the guest's heartbeat went on after the fault: 3 beats in 1300 ms")
	g.shown(tr, w, 2499*millis, false, 0)
	g.shown(tr, w, 2500*millis, true, 1300*millis)
	if s.String() != "silent" || s.Effects() != (Effects{}) {
		t.Errorf("%s %+v", s, s.Effects())
	}
	// It goes on when every vCPU has had two heartbeats.
	good := s.Resumed(tr)
	for i, want := range []bool{false, false, true} {
		if good() != want {
			t.Errorf("after %d heartbeats: %v", i, !want)
		}
		g.beat(1)
	}
}

// TestVCPUs: which vCPUs must fall silent. The time is that of the last of them.
func TestVCPUs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		of    VCPUs
		beats []int // of three vCPUs, those that beat until 500 ms after the fault
		alive []int // those that go on
		want  bool
		since int64
	}{
		{Every, []int{1}, nil, true, 500 * millis},
		{Every, nil, []int{2}, false, 0},
		{First, nil, []int{1, 2}, true, 0},
		{First, []int{0}, []int{1, 2}, true, 500 * millis},
		{First, nil, []int{0}, false, 0},
		{OnlyLast, nil, []int{0, 1}, true, 0},
		{OnlyLast, []int{2}, []int{0, 1}, true, 500 * millis},
		{OnlyLast, nil, []int{2}, false, 0},
		{Some, []int{1}, []int{2}, true, 0}, // the first of them counts
		{Some, []int{1}, []int{0, 2}, true, 500 * millis},
		{Some, nil, []int{0, 1, 2}, false, 0},
	} {
		g := newGuest(t, 3)
		tr := g.truth(30, 0)
		w := Silent{tc.of}.Follow(tr)
		step := func(ns int64, cpus []int) {
			if len(cpus) > 0 {
				g.beat(1, cpus...)
			}
			g.at(tr, ns)
		}
		step(500*millis, append(slices.Clone(tc.beats), tc.alive...))
		step(1000*millis, tc.alive)
		step(1600*millis, tc.alive)
		g.shown(tr, w, 1700*millis, tc.want, tc.since)
		var silent []int
		for cpu := range 3 {
			if !slices.Contains(tc.alive, cpu) {
				silent = append(silent, cpu)
			}
		}
		if got := tr.Silent(g.now); !slices.Equal(got, silent) {
			t.Errorf("%+v: silent %v, want %v", tc, got, silent)
		}
	}
}

func TestStuck(t *testing.T) {
	t.Parallel()
	g := newGuest(t, 1)
	s := Stuck{}
	tr := g.truth(10, 200)
	w := s.Follow(tr)
	g.work(4)
	g.shown(tr, w, 100*millis, false, 0)
	g.beat(20) // heartbeats do not matter
	g.shown(tr, w, 1300*millis-1, false, 0)
	g.refuted(tr, w, "the guest's work went on after the fault: 4 units in 1299 ms")
	g.shown(tr, w, 1300*millis, true, 100*millis)
	if s.String() != "stuck" || s.Effects() != (Effects{TasksSleep: true}) {
		t.Errorf("%s %+v", s, s.Effects())
	}
	if since := tr.Since(); since != (beat.Count{Beats: 20, Work: 4}) {
		t.Errorf("since the fault: %+v", since)
	}
	resumesByWork(g, s.Resumed(tr))
}

// resumesByWork fails the test unless good becomes true with the second unit of work.
func resumesByWork(g *guest, good func() bool) {
	g.t.Helper()
	for i, want := range []bool{false, false, true} {
		if good() != want {
			g.t.Errorf("after %d units: %v", i, !want)
		}
		g.work(1)
	}
}

// TestSlow: work at less than a tenth of its pace, in whole windows of two seconds.
func TestSlow(t *testing.T) {
	t.Parallel()
	g := newGuest(t, 1)
	s := Slow{}
	tr := g.truth(10, 200) // 100 units a second
	w := s.Follow(tr)
	g.work(19)
	g.shown(tr, w, 1999*millis, false, 0)
	g.shown(tr, w, 2000*millis, true, 0) // 19 of 200
	g.work(19)
	g.shown(tr, w, 3000*millis, true, 0)
	g.shown(tr, w, 4000*millis, true, 0)
	g.work(20)
	g.shown(tr, w, 6000*millis, false, 0) // 20 of 200
	g.refuted(tr, w, "the guest's work went on after the fault: 58 units in 6000 ms")
	g.work(1)
	g.shown(tr, w, 8000*millis, true, 6000*millis)
	if s.String() != "slow" || s.Effects() != (Effects{}) {
		t.Errorf("%s %+v", s, s.Effects())
	}
	// It goes on at half its pace over one beat's time: 10 units in 200 ms.
	good := s.Resumed(tr)
	start := g.now
	g.work(50)
	g.now = start + 199*millis
	if good() {
		t.Error("resumed before a beat's time has passed")
	}
	g.now = start + 200*millis
	if !good() {
		t.Error("50 units in 200 ms are no resumption")
	}
	g.now += 200 * millis
	g.work(9)
	if good() {
		t.Error("9 units in 200 ms are taken for half the pace")
	}
	g.now += 200 * millis
	g.work(10)
	if !good() {
		t.Error("10 units in 200 ms are no resumption")
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	s := Held{}
	g := newGuest(t, 1)
	tr := g.truth(10, 20) // a unit takes 100 ms: three are 300 ms
	w := s.Follow(tr)
	g.shown(tr, w, 299*millis, false, 0)
	g.work(1)
	g.shown(tr, w, 310*millis, false, 0)
	g.refuted(tr, w, "the guest's work went on: it stood still for 299 ms at most, and 300 are needed to tell")
	g.shown(tr, w, 610*millis, true, 310*millis)
	g.work(5)
	g.shown(tr, w, 700*millis, true, 310*millis) // the monitor has let go: the longest time counts
	if s.String() != "held" || s.Effects() != (Effects{}) {
		t.Errorf("%s %+v", s, s.Effects())
	}
	g.shown(tr, w, 1000*millis, true, 310*millis) // and the first of two equal times
	resumesByWork(g, s.Resumed(tr))

	// A quick guest: at least six readings of the counters.
	g = newGuest(t, 1)
	tr = g.truth(10, 2000)
	w = s.Follow(tr)
	g.shown(tr, w, 119*millis, false, 0)
	g.shown(tr, w, 120*millis, true, 0)
	// One that did nothing before: three windows.
	g = newGuest(t, 1)
	tr = g.truth(10, 0)
	w = s.Follow(tr)
	g.shown(tr, w, 6*second-1, false, 0)
	g.shown(tr, w, 6*second, true, 0)
}

// TestHeldFromFault: what the guest did not do before the fault does not count.
func TestHeldFromFault(t *testing.T) {
	t.Parallel()
	g := newGuest(t, 1)
	tr := g.truth(10, 20)
	w := Held{}.Follow(tr)
	tr.T0 += 200 * millis // the fault came later than the last reading
	g.shown(tr, w, 299*millis, false, 0)
	g.shown(tr, w, 300*millis, true, 0)
}

func TestEnded(t *testing.T) {
	t.Parallel()
	s := Ended{}
	g := newGuest(t, 2)
	tr := g.truth(20, 0)
	w := s.Follow(tr)
	g.shown(tr, w, 1300*millis, false, 0) // silent, and not ended
	g.refuted(tr, w, "the guest had not ended 1300 ms after the fault")
	g.how = "crash"
	g.beat(1, 1)
	g.shown(tr, w, 1400*millis, false, 0) // ended, and one vCPU beat a moment ago
	g.how = ""                            // what was seen once stays
	g.shown(tr, w, 2600*millis, true, 1400*millis)
	if s.String() != "ended" || s.Effects() != (Effects{GuestEnds: true}) {
		t.Errorf("%s %+v", s, s.Effects())
	}
	good := s.Resumed(tr)
	if g.beat(2, 0); good() {
		t.Error("resumed on one vCPU")
	}
	if g.beat(2, 1); !good() {
		t.Error("not resumed")
	}
	tr = g.truth(20, 0)
	g.err = errors.New("no such domain")
	if _, _, err := s.Follow(tr).Shown(g.now); !errors.Is(err, g.err) ||
		!strings.HasPrefix(err.Error(), "ask whether the guest has ended: ") {
		t.Errorf("error %v", err)
	}
}

// TestStood: a bounded fault of a second took if the guest stood still for half of it,
// and for 60 ms more than usual.
func TestStood(t *testing.T) {
	t.Parallel()
	bound := Bound{Length: time.Second}
	for _, tc := range []struct {
		name       string
		sign       Bounded
		beats      uint64 // in 2 s before
		pauses     [][2]int64
		also       []int // vCPUs that beat at 100 ms steps as well
		since      int64
		why        string
		paused     []int
		length, at int64
	}{
		{name: "half", sign: Silent{Every}, pauses: [][2]int64{{100, 600}}, since: 100, paused: []int{0}},
		{name: "less than half", sign: Silent{Every}, pauses: [][2]int64{{100, 599}},
			why: "the heartbeat of vCPU 0 never paused for more than 499 ms of the fault's 1000"},
		{name: "the longest counts", sign: Silent{Every}, pauses: [][2]int64{{100, 300}, {400, 1000}, {1100, 1300}},
			since: 400, paused: []int{0}},
		{name: "the first of two equal ones", sign: Silent{Every}, pauses: [][2]int64{{100, 600}, {700, 1200}}, since: 100,
			paused: []int{0}},
		{name: "stuck", sign: Stuck{}, pauses: [][2]int64{{100, 600}}, since: 100, paused: []int{0}},
		{name: "hardly stuck", sign: Stuck{}, pauses: [][2]int64{{100, 599}},
			why: "the guest's work never paused for more than 499 ms of the fault's 1000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newGuest(t, 1)
			tr := g.truth(10, 200)
			ms := int64(0)
			for _, p := range tc.pauses {
				for ; ms < p[0]; ms += 20 {
					g.beat(1)
					g.work(1)
					g.at(tr, (ms+20)*millis)
				}
				g.at(tr, (p[1]-10)*millis) // a reading in between finds nothing
				g.beat(1)
				g.work(1)
				g.at(tr, p[1]*millis)
				ms = p[1]
			}
			tr.End(g.now)
			since, why := tc.sign.Stood(tr, bound)
			if why != tc.why || why == "" && since-tr.T0 != tc.since*millis {
				t.Errorf("since %v, %q", time.Duration(since-tr.T0), why)
			}
			if got := tr.Paused(time.Second); !slices.Equal(got, tc.paused) {
				t.Errorf("paused %v, want %v", got, tc.paused)
			}
		})
	}
}

// TestStoodSome: one vCPU that stood still is enough, and the first of several counts.
func TestStoodSome(t *testing.T) {
	t.Parallel()
	bound := Bound{Length: time.Second}
	for _, tc := range []struct {
		name   string
		pauses [2][2]int64 // by vCPU, from and to, in ms
		since  int64
		why    string
	}{
		{"one", [2][2]int64{{0, 0}, {400, 1000}}, 400, ""},
		{"both", [2][2]int64{{500, 1000}, {400, 1000}}, 400, ""},
		{"both, in the other order", [2][2]int64{{300, 1000}, {400, 1000}}, 300, ""},
		{"none", [2][2]int64{{500, 940}, {480, 960}}, 0,
			"no vCPU's heartbeat paused for more than 480 ms of the fault's 1000"},
	} {
		g := newGuest(t, 2)
		tr := g.truth(20, 0)
		for ms := int64(20); ms <= 1200; ms += 20 {
			for cpu, p := range tc.pauses {
				if ms <= p[0] || ms >= p[1] {
					g.beat(1, cpu)
				}
			}
			g.at(tr, ms*millis)
		}
		tr.End(g.now)
		since, why := Silent{Some}.Stood(tr, bound)
		if why != tc.why || why == "" && since-tr.T0 != tc.since*millis {
			t.Errorf("%s: since %v, %q", tc.name, time.Duration(since-tr.T0), why)
		}
	}
}

// TestStoodUsual: a guest that is slow anyway must pause for distinctly longer than it
// does when it is healthy.
func TestStoodUsual(t *testing.T) {
	t.Parallel()
	bound := Bound{Length: 500 * time.Millisecond}
	for _, tc := range []struct {
		pause int64 // of a guest whose heartbeat comes every second
		took  bool
	}{{1059, false}, {1060, true}} {
		g := newGuest(t, 1)
		tr := g.truth(2, 2)
		g.at(tr, tc.pause*millis)
		if len(tr.Paused(bound.Length)) != 0 {
			t.Errorf("a pause of %d ms counts before it has ended", tc.pause)
		}
		tr.End(g.now)
		_, silent := Silent{Every}.Stood(tr, bound)
		_, stuck := Stuck{}.Stood(tr, bound)
		if (silent == "") != tc.took || (stuck == "") != tc.took || (len(tr.Paused(bound.Length)) == 1) != tc.took {
			t.Errorf("a pause of %d ms: %q, %q", tc.pause, silent, stuck)
		}
	}
}

// TestStoodVCPUs: each of the vCPUs in question must have paused, and the last pause
// that began is the time.
func TestStoodVCPUs(t *testing.T) {
	t.Parallel()
	g := newGuest(t, 2)
	tr := g.truth(20, 0)
	g.beat(1, 1)
	g.at(tr, 200*millis)
	tr.End(tr.T0 + 900*millis)
	if since, why := (Silent{Every}).Stood(tr, Bound{Length: time.Second}); why != "" || since != tr.T0+200*millis {
		t.Errorf("every vCPU: %d %q", since-tr.T0, why)
	}
	if since, why := (Silent{First}).Stood(tr, Bound{Length: time.Second}); why != "" || since != tr.T0 {
		t.Errorf("the first vCPU: %d %q", since-tr.T0, why)
	}
	if got := tr.Paused(time.Second); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("paused %v", got)
	}
	if got := tr.Paused(1600 * time.Millisecond); !slices.Equal(got, []int{0}) {
		t.Errorf("paused for 800 ms: %v", got)
	}
}

// TestStoodSlow: a fault that slows the guest down took if it did less than half its
// work.
func TestStoodSlow(t *testing.T) {
	t.Parallel()
	g := newGuest(t, 1)
	tr := g.truth(10, 200) // 100 units a second
	for work, want := range map[uint64]string{
		49: "",
		50: "the guest's work went on during the fault: 50 units in 1000 ms",
	} {
		since, why := Slow{}.Stood(tr, Bound{Length: 900 * time.Millisecond, RemovedAt: tr.T0 + second, Work: work})
		if why != want || why == "" && since != tr.T0 {
			t.Errorf("%d units: since %d, %q", work, since-tr.T0, why)
		}
	}
}

// TestDisturbance: what a disturbance must do to a control of two vCPUs.
func TestDisturbance(t *testing.T) {
	t.Parallel()
	before := Pace{Count: beat.Count{Beats: 20, Work: 200}, Window: 2 * time.Second}
	for _, tc := range []struct {
		sign   Disturbance
		during beat.Count
		want   string
	}{
		{Silent{}, beat.Count{Beats: 2, Work: 900}, ""},
		{Silent{}, beat.Count{Beats: 3}, "3 beats meanwhile"},
		{Stuck{}, beat.Count{Beats: 900, Work: 2}, ""},
		{Stuck{}, beat.Count{Work: 3}, "3 units of work meanwhile"},
		{Slow{}, beat.Count{Work: 199}, ""},
		{Slow{}, beat.Count{Work: 200}, "200 units of work in 4s, and 200 in 2000 ms before it"},
	} {
		got := tc.sign.Failed(Disturbed{CPUs: 2, Before: before, During: Pace{Count: tc.during, Window: 4 * time.Second}})
		if got != tc.want {
			t.Errorf("%s, %+v: %q, want %q", tc.sign, tc.during, got, tc.want)
		}
	}
}
