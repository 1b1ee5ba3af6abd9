package xenctrl

// turn is how a notification of Xen ended, as channel.c has it.
type turn int

const (
	turnNone    turn = iota // there are no events
	turnAtOnce              // there were events right after the notification
	turnYielded             // there are events after some yields of the CPU
)

// yielder decides whether it is worth to yield the CPU to the guest after a
// notification. It is while the next event comes soon. A mechanism with one event a
// pass has no next one: yields that bring nothing soon stop, and are tried again now
// and then.
type yielder struct {
	credit  int  // 0 to maxCredit: one more for each success, two fewer for each failure
	without uint // notifications without credit
}

const (
	maxCredit = 8
	// tryAgain is after how many notifications without credit a yield is tried.
	tryAgain = 64
)

// worth reports whether the next notification should yield.
func (y *yielder) worth() bool { return y.credit > 0 || y.without%tryAgain == 0 }

// note takes the result of a notification that yielded if worth said so.
func (y *yielder) note(t turn) {
	if t == turnAtOnce {
		return // it did not come to a yield
	}
	if y.credit == 0 {
		tried := y.worth()
		y.without++
		if !tried {
			return
		}
	}
	if t == turnYielded {
		y.credit = min(y.credit+1, maxCredit)
	} else {
		y.credit = max(y.credit-2, 0)
	}
}
