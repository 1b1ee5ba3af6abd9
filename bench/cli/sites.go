package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/bench/reach"
	"hangbench/scenarios/sites"
)

// sitesFlags are the flags of "bench sites".
type sitesFlags struct {
	kernel string
	works  []string
	lab    labFlags
}

func (a *app) benchSites() *cobra.Command {
	c := a.command("sites", "record which functions and locks of a kernel the guest's work reaches",
		"Record which functions and named locks of a guest kernel the works of the guest's PID 1 reach, in the lab, and "+
			"print them: a line for each with its kind, its name, and a letter for each work.", 0, 0)
	var s sitesFlags
	f := c.Flags()
	f.StringVar(&s.kernel, "kernel", defaultGuest().Kernel, "`NAME` of the guest kernel")
	f.StringSliceVar(&s.works, "works", reach.Works(), "`names` of the works to record")
	f.Lookup("works").DefValue = "all" // the list is too long for help
	s.lab.add(c)
	completeFlag(c, "works", lists(reach.Works()...))
	c.RunE = func(c *cobra.Command, _ []string) error { return s.run(c.Context(), a) }
	return c
}

func (s *sitesFlags) run(ctx context.Context, a *app) error {
	if err := s.check(); err != nil {
		return err
	}
	guest := defaultGuest()
	guest.Kernel = s.kernel
	job := reach.Job{Works: s.works, Functions: 3 * time.Second, Locks: time.Second, MostLocks: 2000}
	g := guestBench{lab: s.lab}
	var r *reach.Report
	err := g.inLab(ctx, a, guest, func(_ *labhost.Host, m *labhost.Machine) (err error) {
		r, err = m.RecordSites(job, a.log)
		return err
	})
	if err != nil {
		return err
	}
	f, err := sites.Parse("the recording", []byte(r.Sites))
	if err != nil {
		return err
	}
	f.Kernel = s.kernel
	text, err := f.Bytes()
	if err != nil {
		return err
	}
	a.display.End()
	_, err = a.out.Write(text)
	return err
}

func (s *sitesFlags) check() error {
	known := make(map[string]bool)
	for _, w := range reach.Works() {
		known[w] = true
	}
	if len(s.works) == 0 {
		return exit.Usagef("--works: name at least one")
	}
	for _, w := range s.works {
		if !known[w] {
			return exit.Usagef("--works %s: there are %s", w, strings.Join(reach.Works(), ", "))
		}
		known[w] = false // once is enough
	}
	return nil
}
