package observe

import (
	"hangbench/bench/plan"
	"hangbench/bench/trial"
	"hangbench/guests/watchdog"
	"hangbench/monitor/trap"
)

// All returns the observers of a trial: the one whose first report is the verdict, nil
// if there is none, and those that watch beside it. Open attaches our monitor with the
// mechanism m.
func All(p plan.Trial, m trap.Mechanism, open Open) (watcher trial.Observer, beside []trial.Observer) {
	beside = Watchdogs(watchdog.Setting(p.Watchdogs))
	if m.Watches() {
		watcher = &Monitor{Open: open}
	}
	for _, o := range p.Observers {
		if o.Name == p.Mechanism {
			watcher = &Exec{Spec: o}
		} else {
			beside = append(beside, &Exec{Spec: o})
		}
	}
	return watcher, beside
}
