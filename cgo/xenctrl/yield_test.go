package xenctrl

import "testing"

// TestYielder compares with the rule as it was in C, for every sequence of results.
func TestYielder(t *testing.T) {
	t.Parallel()
	run := func(results uint64, n int) {
		var y yielder
		luck, unlucky := 0, uint(0)
		for i := range n {
			atOnce, soon := results>>(2*i)&1 != 0, results>>(2*i+1)&1 != 0
			// hb_chan_turn
			yields := false
			if !atOnce {
				yields = luck != 0
				if !yields {
					yields = unlucky%64 == 0
					unlucky++
				}
			}
			switch {
			case !yields:
			case soon:
				luck = min(luck+1, 8)
			case luck > 1:
				luck -= 2
			default:
				luck = 0
			}
			if !atOnce && y.worth() != yields {
				t.Fatalf("%#x: notification %d yields: %v, want %v", results, i, y.worth(), yields)
			}
			switch {
			case atOnce:
				y.note(turnAtOnce)
			case yields && soon:
				y.note(turnYielded)
			default:
				y.note(turnNone)
			}
			if y.credit != luck || y.without != unlucky {
				t.Fatalf("%#x: after notification %d: %+v, want %d and %d", results, i, y, luck, unlucky)
			}
		}
	}
	for results := range uint64(1 << 16) {
		run(results, 8)
	}
	for _, results := range []uint64{0, ^uint64(0), 0xaaaaaaaaaaaaaaaa, 0x8a8a8a8aaaaaaaaa} {
		run(results, 32)
	}
	// Nothing comes for long: one in 64 notifications yields.
	var y yielder
	yields := 0
	for range 64 * 10 {
		if y.worth() {
			yields++
		}
		y.note(turnNone)
	}
	if yields != 10 {
		t.Errorf("%d yields in 640 notifications without success, want 10", yields)
	}
}
