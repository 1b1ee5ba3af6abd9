package trap

import (
	"errors"

	"hangbench/monitor/driver"
)

// steps keeps which vCPUs single-step. The hypervisor can only toggle stepping, so
// the trap must know the present state.
type steps struct {
	Host
	stepping []bool // by vCPU
}

func newSteps(h Host) steps { return steps{Host: h, stepping: make([]bool, h.VCPUs())} }

// step makes the response turn single-stepping of the vCPU on or off.
func (s *steps) step(vcpu int, on bool, r *driver.Response) {
	r.ToggleStep = s.stepping[vcpu] != on
	s.stepping[vcpu] = on
}

// stopSteps ends the steps of all vCPUs. An event that is answered afterwards must
// not toggle them on again.
func (s *steps) stopSteps() error {
	var errs []error
	for i := range s.stepping {
		errs = append(errs, s.Ring().StopStep(i))
		s.stepping[i] = false
	}
	return errors.Join(append(errs, s.Ring().EnableStep(false))...)
}
