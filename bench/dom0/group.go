package dom0

import (
	"errors"
	"fmt"
	"time"

	"hangbench/bench/dom0/recovery"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
)

// group is the monitor of a guest together with those of its neighbours. Verdicts and
// counts are those of the guest. Of the neighbours, which are healthy, only alarms are
// kept: they are false.
type group struct {
	*recovery.Session
	beside []*recovery.Session
}

// attachGroup attaches monitors to the guest and to its neighbours, all with one
// mechanism. record, if it is not nil, gets the observations of the guest.
func (g *Guest) attachGroup(m trap.Mechanism, t detect.Thresholds, sample time.Duration,
	record func(*detect.Observation)) (*group, error) {
	all := &group{}
	raiseGOMAXPROCS(1 + len(g.neighbours))
	for i, n := range g.neighbours {
		s, err := n.Attach(monitor.Config{Mechanism: m, Thresholds: t, Sample: sample})
		if err != nil {
			err = fmt.Errorf("neighbour %d: %w", i+1, err)
			return nil, errors.Join(err, all.detachBeside())
		}
		all.beside = append(all.beside, s)
	}
	var err error
	c := monitor.Config{Mechanism: m, Thresholds: t, Sample: sample, Record: record}
	if all.Session, err = g.Attach(c); err != nil {
		return nil, errors.Join(err, all.detachBeside())
	}
	return all, nil
}

// Detach detaches from all guests, also after an error, and returns the counters of
// the guest.
func (a *group) Detach() (monitor.Counters, error) {
	c, err := a.Session.Detach()
	return c, errors.Join(err, a.detachBeside())
}

func (a *group) detachBeside() error {
	var err error
	for i, s := range a.beside {
		c, derr := s.Detach()
		if derr == nil && c.BackedOut != "" {
			derr = errors.New(c.BackedOut)
		}
		if derr != nil {
			err = errors.Join(err, fmt.Errorf("neighbour %d: %w", i+1, derr))
		}
	}
	return err
}

// NeighbourAlarms returns the alarms about neighbours.
func (a *group) NeighbourAlarms() []monitor.Alarm {
	var alarms []monitor.Alarm
	for _, s := range a.beside {
		alarms = append(alarms, s.Alarms()...)
	}
	return alarms
}
