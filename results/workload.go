package results

import (
	"errors"
	"fmt"
	"reflect"
)

// Workload counts the operations of a workload in windows of equal length. The windows
// alternate between monitor off and on within one trial. The trace of EPT violations is
// on in all of them.
type Workload struct {
	Program string `json:"program"` // what worked, with its version
	Op      string `json:"op"`      // what one operation is
	// Windows are in the order in which they were run. A verdict ends the trial, and
	// windows may be missing then.
	Windows []Window `json:"windows"`
}

// Window is one window of a Workload. Both numbers are the program's own.
type Window struct {
	// Monitor is set in windows with the monitor. With mechanism none it is set where the
	// monitor would have been attached.
	Monitor bool   `json:"monitor"`
	Ops     uint64 `json:"ops"`        // operations done
	NS      int64  `json:"ns" min:"1"` // nanoseconds in which they were, of the guest's monotonic clock
}

// Sums adds up the windows with the monitor and those without.
func (w *Workload) Sums() (on, off Window) {
	on.Monitor = true
	for _, win := range w.Windows {
		to := &off
		if win.Monitor {
			to = &on
		}
		to.Ops += win.Ops
		to.NS += win.NS
	}
	return on, off
}

// Complete reports whether there are as many windows with the monitor as without.
func (w *Workload) Complete() bool {
	n := 0
	for _, win := range w.Windows {
		if win.Monitor {
			n++
		}
	}
	return n > 0 && 2*n == len(w.Windows)
}

const mostWindows = 64

func (w *Workload) validate(o Outcome) error {
	if w.Program == "" || w.Op == "" {
		return errors.New("workload without program or op")
	}
	if len(w.Windows) > mostWindows {
		return fmt.Errorf("workload with %d windows, more than %d", len(w.Windows), mostWindows)
	}
	for i := range w.Windows {
		if err := inRange(reflect.ValueOf(&w.Windows[i]).Elem(), ""); err != nil {
			return fmt.Errorf("workload: window %d: %w", i, err)
		}
	}
	if o != Clean {
		return nil
	}
	if !w.Complete() {
		return errors.New("workload without as many windows with the monitor as without")
	}
	if _, off := w.Sums(); off.Ops == 0 {
		return errors.New("workload that did nothing without the monitor")
	}
	return nil
}
