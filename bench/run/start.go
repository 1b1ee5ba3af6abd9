package run

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"hangbench/bench/plan"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// Start describes a run that begins.
type Start struct {
	Suite    *suites.Suite
	Seed     uint64
	Plan     []plan.Trial // of the suite and the seed
	Host     results.HostInfo
	Versions map[string]string // of the host's software, by name
	Warnings []string          // of what happened before there was a store
	Time     time.Time
}

// Create creates the run's store in a new folder below dir, named after the suite, the seed
// and the time.
func Create(dir string, s Start) (*results.Store, error) {
	hash, err := plan.Hash(s.Plan)
	if err != nil {
		return nil, err
	}
	info := results.NewSuiteInfo(s.Suite.Name, s.Suite.Text)
	info.Drivers = s.Suite.Drivers
	if s.Suite.GivenGuests {
		info.Guests, info.KernelFiles = s.Suite.Guests, s.Suite.KernelFiles
	}
	var slow []string
	for _, class := range detect.List() {
		if class.Waits {
			slow = append(slow, string(class.Class))
		}
	}
	m := results.Manifest{
		SlowClasses: slow, Suite: info, Seed: s.Seed,
		Planned: len(s.Plan), PlanHash: hash, Host: s.Host, Started: s.Time, Warnings: s.Warnings,
		Arms:     arms(s.Plan),
		Versions: results.Versions{Hangbench: Revision(), Go: runtime.Version(), Packages: s.Versions},
	}
	id := results.RunID(s.Suite.Name, s.Seed, s.Time)
	m.RunID = id
	store, err := results.Create(dir, m)
	for n := 2; errors.Is(err, results.ErrRunExists) && n <= mostInSecond; n++ {
		m.RunID = fmt.Sprintf("%s-%d", id, n)
		store, err = results.Create(dir, m)
	}
	return store, err
}

// mostInSecond is how many runs of a suite may begin in one second in one folder. All but
// the first have a number at the end of their names.
const mostInSecond = 100

// arms returns the traits of the mechanisms of a plan, for the analysis. A program that
// watches in place of the monitor has none.
func arms(trials []plan.Trial) results.Arms {
	all := make(results.Arms)
	for i := range trials {
		name := trials[i].Mechanism
		if _, seen := all[name]; seen {
			continue
		}
		all[name] = results.ArmInfo{}
		if m, err := trap.Find(name); err == nil {
			all[name] = results.ArmInfo{PageTrap: m.PageTrap, View: string(m.View), TwinOf: m.TwinOf}
		}
	}
	return all
}

// Revision returns the commit that this program was built from, with the suffix
// "-modified" if the source had changes, or "unknown".
func Revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "-modified"
		}
	}
	if commit == "" {
		return "unknown"
	}
	return commit + modified
}
