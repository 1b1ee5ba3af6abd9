package detect

import (
	"testing"
	"time"
)

// TestGuestClock: the estimate of the guest's clock, step by step.
func TestGuestClock(t *testing.T) {
	t.Parallel()
	// Each observation is at dom0's time t, dt after the last. guest is the value in a
	// inspection, -1 for no sample. Times are in ms.
	type observation struct{ t, dt, guest int64 }
	for _, tc := range []struct {
		name  string
		all   []observation
		at    int64
		want  int64 // the least that the clock shows at that time
		known bool
	}{
		{"nothing", nil, 1000, 0, false},
		{"one value", []observation{{1000, 100, 400}}, 1000, 0, false},
		{"two values that are equal", []observation{{1000, 100, 400}, {1100, 100, 400}}, 1100, 0, false},
		{"a value that could not be read", []observation{{1000, 100, 0}, {1100, 100, 450}}, 1100, 0, false},
		{"a value that has moved", []observation{{1000, 100, 400}, {1100, 100, 450}}, 1200, 1200 - 650 - 100, true},
		{"the difference that lags behind least",
			[]observation{{1000, 100, 400}, {1100, 100, 450}, {1200, 100, 580}, {1300, 100, 590}},
			1300, 1300 - 620 - 100, true},
		{"a value that stands still has no say",
			[]observation{{1000, 100, 400}, {1100, 100, 450}, {1200, 100, 450}}, 1200, 1200 - 650 - 100, true},
		{"the longest time between two observations counts",
			[]observation{{1000, 100, 400}, {1100, 100, 450}, {1500, 400, -1}, {1600, 100, -1}},
			1600, 1600 - 650 - 400, true},
		// From 1100 to 1900 nothing was judged: the guest's clock may have stood still.
		{"a time that was not observed counts",
			[]observation{{1000, 100, 400}, {1100, 100, 450}, {2000, 100, -1}}, 2000, 2000 - 650 - 800 - 100, true},
		{"the longest time of the first half minute counts in the second",
			[]observation{{1000, 100, 400}, {1100, 100, 500}, {31100, 50, 30400}}, 31100, 31100 - 700 - 100, true},
		{"just short of half a minute",
			[]observation{{1000, 100, 400}, {1100, 100, 500}, {31099, 29999, 30400}}, 31099, 31099 - 600 - 29999, true},
		{"the second half minute lags behind less",
			[]observation{{1000, 100, 400}, {1100, 100, 500}, {31100, 30000, 30600}, {31200, 100, 30650}},
			31200, 31200 - 500 - 30000, true},
		{"the second half minute lags behind more",
			[]observation{{1000, 100, 400}, {1100, 100, 500}, {31100, 30000, 30400}}, 31100, 31100 - 600 - 30000, true},
		{"after the second, the first half minute is forgotten",
			[]observation{{1000, 100, 400}, {1100, 100, 500}, {31100, 30000, 30400}, {61100, 30000, 60300},
				{91100, 30000, 90200}},
			91100, 91100 - 800 - 30000, true},
		{"a time that was not observed counts for both halves",
			[]observation{{1000, 100, 400}, {1100, 100, 500}, {31100, 30000, 30400}, {33000, 100, -1}},
			33000, 33000 - 600 - 1800 - 30000, true},
		{"the longest time of the older half is forgotten with it",
			[]observation{{1000, 100, 400}, {1500, 500, 900}, {31500, 200, 30900}, {61500, 200, 60900}, {91500, 200, 90900}},
			91500, 91500 - 600 - 200, true},
	} {
		var c guestClock
		for _, o := range tc.all {
			c.step(o.t*ms, o.dt*ms)
			if o.guest >= 0 {
				c.observe(o.t*ms, o.guest*ms)
			}
		}
		if got, known := c.atLeast(tc.at * ms); got != tc.want*ms || known != tc.known {
			t.Errorf("%s: %v, %v, want %v, %v", tc.name, time.Duration(got), known, time.Duration(tc.want*ms), tc.known)
		}
	}
}
