package detect

import (
	"slices"
	"strings"
	"testing"
)

// TestUnjudged: a class that cannot be judged in this guest gives no verdict and says
// why. The others are judged as before, and so is the class once it can be.
func TestUnjudged(t *testing.T) {
	t.Parallel()
	mutex := Waiting{PID: 300, Comm: "ip", Switches: 7, Stack: []string{"__mutex_lock"}}
	disk := Waiting{PID: 400, Comm: "dd", Switches: 9, Stack: []string{"io_schedule"}, IOWait: true}
	unjudged := []Unjudged{{Class: ClassBlocked, Why: "the kernel has no mutex.owner"}}
	const note = "blocked cannot be judged: the kernel has no mutex.owner"
	for _, tt := range []struct {
		name     string
		wait     Waiting
		unjudged []Unjudged
		until    int // observation from which on it can be judged; 0 for never
		class    Class
		at       int
	}{
		{"judged", mutex, nil, 0, ClassBlocked, 75},
		{"not judged", mutex, unjudged, 0, "", 0},
		{"another class", disk, unjudged, 0, ClassIO, 75},
		{"judged later", mutex, unjudged, 90, ClassBlocked, 90},
		{"more than there are classes", mutex, append(slices.Repeat([]Unjudged{{Class: "x"}}, 100), unjudged...), 0,
			ClassBlocked, 75},
	} {
		g, d := newGuest(1), NewDetector(DefaultThresholds())
		var got Class
		at := 0
		for i := range 100 {
			o := g.next()
			if i >= 50 {
				g.wait(tt.wait)
			}
			g.kernel.Unjudged = tt.unjudged
			if tt.until > 0 && i >= tt.until {
				g.kernel.Unjudged = nil
			}
			if v, ok := d.Observe(o); ok {
				got, at = v.Class, i
				break
			}
		}
		if got != tt.class || at != tt.at {
			t.Errorf("%s: %q at %d, want %q at %d", tt.name, got, at, tt.class, tt.at)
		}
		said := slices.Contains(d.Undecided(), note)
		if want := len(tt.unjudged) == 1 && tt.until == 0; said != want {
			t.Errorf("%s: undecided:\n%s", tt.name, strings.Join(d.Undecided(), "\n"))
		}
	}
}
