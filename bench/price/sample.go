package price

import (
	"context"
	"sync/atomic"
	"time"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/recovery"
	"hangbench/bench/price/event"
	"hangbench/bench/price/tsc"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// session is an attached monitor as an event.Loop.
type session struct{ s *recovery.Session }

func (s session) Stop() (event.Counts, error) {
	c, err := s.s.Detach()
	return event.Counts{Events: c.Accesses + c.Steps + c.CR3, Samples: c.Samples, BackedOut: c.BackedOut}, err
}

// poll attaches a monitor that traps nothing and samples once in a period.
func (g *guest) poll(_ context.Context, period time.Duration) (event.Sampler, error) {
	m, err := trap.Find(PollMechanism)
	if err != nil {
		return nil, err
	}
	s := &sampler{}
	w := g.Watched()
	c := g.config(m, timedDriver{w.Driver, s})
	c.Sample, c.Kernel = period, timedKernel{w.Kernel, s}
	c.Record = func(*detect.Observation) { s.samples.Add(1) }
	if s.s, err = g.AttachExactly(c); err != nil {
		return nil, err
	}
	return s, nil
}

// sampler is a session that samples. It counts the cycles of each part of a sample.
type sampler struct {
	session
	samples                                       atomic.Uint64
	state, registers, runQueues, taskList, stacks atomic.Uint64
}

func (s *sampler) Samples() uint64 { return s.samples.Load() }

func (s *sampler) Spent() map[string]uint64 {
	return map[string]uint64{
		"domain and vCPU state": s.state.Load(), "registers": s.registers.Load(),
		"run queues": s.runQueues.Load(), "task list": s.taskList.Load(), "stacks": s.stacks.Load(),
	}
}

// since adds the cycles since start to a part.
func since(part *atomic.Uint64, start uint64) { part.Add(tsc.Read() - start) }

// timedDriver measures the calls with which a sample asks Xen.
type timedDriver struct {
	dom0.Driver
	s *sampler
}

func (d timedDriver) State(vcpus []driver.VCPUState) (driver.DomainState, error) {
	defer since(&d.s.state, tsc.Read())
	return d.Driver.State(vcpus)
}

func (d timedDriver) Registers(i int, r *driver.Registers) error {
	defer since(&d.s.registers, tsc.Read())
	return d.Driver.Registers(i, r)
}

// timedKernel measures the calls with which a sample reads the guest's kernel.
type timedKernel struct {
	monitor.Kernel
	s *sampler
}

func (k timedKernel) RunQueue(cpu int, q *detect.RunQueue) bool {
	defer since(&k.s.runQueues, tsc.Read())
	return k.Kernel.RunQueue(cpu, q)
}

func (k timedKernel) Inspect(out *detect.Kernel) {
	defer since(&k.s.taskList, tsc.Read())
	k.Kernel.Inspect(out)
}

func (k timedKernel) Callers(names []string, rsp uint64) []string {
	defer since(&k.s.stacks, tsc.Read())
	return k.Kernel.Callers(names, rsp)
}
