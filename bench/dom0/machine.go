package dom0

import (
	"context"
	"time"

	"hangbench/monitor"
)

// VCPUs, Where and NMI make the guest an inject.Machine, together
// with its memory in host.go.

// VCPUs is the number of vCPUs.
func (g *Guest) VCPUs() int { return g.driver.VCPUs() }

// Where returns RIP of a vCPU, and whether it takes interrupts.
func (g *Guest) Where(vcpu int) (rip uint64, interrupts bool, err error) {
	var r monitor.Registers
	err = g.driver.Registers(vcpu, &r)
	return r.RIP, r.InterruptsOn(), err
}

// triggerTime bounds a call of xl, on dom0's clock.
const triggerTime = 30 * time.Second

// NMI sends a vCPU a non-maskable interrupt.
func (g *Guest) NMI(vcpu int) error {
	ctx, cancel := context.WithTimeout(context.Background(), triggerTime)
	defer cancel()
	return g.host.tools.NMI(ctx, g.Domid, vcpu)
}

// ended says how the guest has ended itself.
func (g *Guest) ended() (string, error) {
	st, err := g.driver.Domain()
	return st.Shutdown, err
}
