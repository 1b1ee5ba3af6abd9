package dom0

import (
	"context"
	"fmt"

	"hangbench/bench/dom0/clock"
	"hangbench/monitor/detect"
)

// Inspection holds what a monitor reads of a guest's kernel, and how long reading takes.
type Inspection struct {
	Slide    uint64            `json:"slide"`    // of KASLR, in bytes
	Isolated bool              `json:"isolated"` // page-table isolation is on
	Queues   []detect.RunQueue `json:"queues"`   // of every vCPU
	Kernel   detect.Kernel     `json:"kernel"`
	Callers  []string          `json:"callers"` // on the stack of vCPU 0, wherever it was stopped

	// InMemory says what was read to find the kernel in the guest's memory, Differences how
	// what was found differs from the profile of the kernel's file, or why nothing was.
	InMemory    MemoryRead `json:"in_memory"`
	Differences []string   `json:"differences"`

	// Times on dom0's clock. In the lab 10 ns are an instruction.
	QueueNS     int64 `json:"queue_ns"`      // one run queue, mean of many
	LookNS      int64 `json:"look_ns"`       // one inspection of the task list, mean of some
	FirstLookNS int64 `json:"first_look_ns"` // the first inspection, with no page of the guest mapped
}

// Inspect reads the guest's kernel. No monitor may be attached.
func (g *Guest) Inspect(ctx context.Context) (Inspection, error) {
	const queues, looks = 1000, 10
	s := Inspection{Slide: g.kernel.Slide(), Queues: make([]detect.RunQueue, g.driver.VCPUs())}
	var err error
	if s.Isolated, err = g.kernel.Isolated(); err != nil {
		return s, err
	}
	if err := g.driver.Forget(); err != nil {
		return s, err
	}
	start := clock.Now()
	g.kernel.Inspect(&s.Kernel)
	s.FirstLookNS = clock.Now() - start
	start = clock.Now()
	for range looks {
		g.kernel.Inspect(&s.Kernel)
	}
	s.LookNS = (clock.Now() - start) / looks
	start = clock.Now()
	for i := range queues {
		if cpu := i % len(s.Queues); !g.kernel.RunQueue(cpu, &s.Queues[cpu]) {
			return s, fmt.Errorf("the run queue of vCPU %d cannot be read", cpu)
		}
	}
	s.QueueNS = (clock.Now() - start) / queues
	r, err := g.registers()
	if err != nil {
		return s, err
	}
	s.Callers = g.kernel.Callers(nil, r[0].RSP)
	p, read, err := ProfileInMemory(ctx, g.driver, r...)
	if err != nil {
		s.Differences = []string{err.Error()}
	} else {
		s.InMemory, s.Differences = read, Differences(p, g.profile)
	}
	return s, nil
}
