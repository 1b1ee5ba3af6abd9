package monitor

import (
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// host is a session as its trap sees it. It implements trap.Host.
type host struct{ s *Session }

func (h host) Ring() driver.Controls { return h.s.ring }
func (h host) Memory() driver.Memory { return h.s.cfg.Driver }
func (h host) Site() *trap.Site      { return &h.s.cfg.Site }
func (h host) VCPUs() int            { return len(h.s.vcpus) }

func (h host) Function(addr uint64) (string, uint64, bool) { return h.s.cfg.Symbols.Function(addr) }

func (h host) Online(vcpu int) bool {
	_, err := h.s.cfg.Driver.State(h.s.states)
	return err != nil || h.s.states[vcpu].Online
}

// Signal counts a task switch of a vCPU, unless the present event repeats the one
// before.
func (h host) Signal(vcpu int) {
	if h.s.repeated {
		return
	}
	h.s.vcpus[vcpu].signals++
	h.s.budget.signal(vcpu)
}

func (h host) Charge(vcpu int, start bool) bool { return h.s.budget.charge(vcpu, start) }
func (h host) MayOpen() bool                    { return h.s.budget.mayOpen() }
