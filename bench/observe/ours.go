package observe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hangbench/bench/trial"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/results"
)

// Session is our monitor while it is attached. A *monitor.Session with its neighbours
// is one.
type Session interface {
	// Verdict delivers the first verdict.
	Verdict() <-chan detect.Verdict
	// Done is closed when the session has ended.
	Done() <-chan struct{}
	// Signals counts the task switches that the mechanism has seen.
	Signals() uint64
	// Undecided says why there is no verdict yet.
	Undecided() []string
	// Alarms are the times during which the guest was reported as hung.
	Alarms() []monitor.Alarm
	// NeighbourAlarms are those about other guests that are monitored beside it.
	NeighbourAlarms() []monitor.Alarm
	// Mishandle breaks the monitor on purpose, or repairs it.
	Mishandle(on bool) error
	Detach() (monitor.Counters, error)
}

// Open attaches our monitor to a guest, with thresholds of its detectors and a sampling
// period.
type Open func(t detect.Thresholds, sample time.Duration) (Session, error)

// Monitor is our own monitor as an observer.
type Monitor struct {
	Open Open

	session Session
	verdict *detect.Verdict
}

// Name is monitor.
func (m *Monitor) Name() string { return "monitor" }

// Attach attaches the monitor. A threshold that does not exist is an error of the host.
func (m *Monitor) Attach(_ context.Context, s trial.Subject) error {
	t := detect.DefaultThresholds()
	if err := t.SetAll(s.Settings.Thresholds); err != nil {
		return err
	}
	session, err := m.Open(t, s.Settings.Sample)
	if err != nil {
		return err
	}
	m.session, m.verdict = session, nil
	return nil
}

// Ended reports whether the monitor has ended.
func (m *Monitor) Ended() bool {
	select {
	case <-m.session.Done():
		return true
	default:
		return false
	}
}

// take takes the verdict, if there is a new one.
func (m *Monitor) take() bool {
	if m.verdict != nil {
		return false
	}
	select {
	case v := <-m.session.Verdict():
		m.verdict = &v
		return true
	default:
		return false
	}
}

// Poll takes the verdict, if there is one, and notices a monitor that ended.
func (m *Monitor) Poll(int64) error {
	if m.take() {
		return nil
	}
	if m.Ended() {
		return trial.Failed("the monitor ended by itself")
	}
	return nil
}

// Reports are the alarms. The first one is the verdict, with its evidence.
func (m *Monitor) Reports() []trial.Report {
	if m.verdict == nil {
		return nil
	}
	reports := reportsOf(m.session.Alarms())
	v := m.verdict
	if len(reports) == 0 { // the session delivers a verdict just before it raises the alarm
		reports = append(reports, trial.Report{VCPU: -1})
	}
	first := &reports[0]
	first.AtNS, first.SeenNS, first.Class = v.TimeNS, v.TimeNS, string(v.Class)
	first.Scope, first.Evidence = string(v.Scope), v.Evidence
	return reports
}

// Guards is the one detector that the monitor is to a trial. It has no threshold of
// its own: each class of hang has several.
func (m *Monitor) Guards() []trial.Guard {
	return []trial.Guard{{Name: m.Name(), Armed: m.session != nil}}
}

func reportsOf(alarms []monitor.Alarm) []trial.Report {
	var reports []trial.Report
	for _, a := range alarms {
		reports = append(reports, trial.Report{
			Guard: "monitor", AtNS: a.StartNS, SeenNS: a.StartNS, EndNS: a.EndNS, Class: string(a.Class), VCPU: -1,
		})
	}
	return reports
}

// Detach detaches the monitor.
func (m *Monitor) Detach(context.Context) (trial.Counts, error) {
	c, err := m.session.Detach()
	m.take() // of an alarm since the last poll
	if err != nil {
		err = &trial.ObserverError{Reason: fmt.Sprintf("the monitor failed: %v", err), Gone: errors.Is(err, monitor.ErrGone)}
	}
	return trial.Counts{
		Events:    results.Events(c.Counts),
		Accesses:  c.Accesses,
		BackedOut: c.BackedOut, BackOutNS: c.BackOutNS,
		Neighbours: reportsOf(m.session.NeighbourAlarms()),
	}, err
}

// Mishandle breaks the monitor on purpose, or repairs it.
func (m *Monitor) Mishandle(on bool) error { return m.session.Mishandle(on) }

// Signals counts the task switches that the mechanism has seen.
func (m *Monitor) Signals() uint64 { return m.session.Signals() }

// Undecided says why there is no verdict yet.
func (m *Monitor) Undecided() []string { return m.session.Undecided() }
