package xenctrl

import (
	"testing"

	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/driver"
)

// TestOnlyVCPU: the state of a guest with one vCPU is the state of the vCPU.
func TestOnlyVCPU(t *testing.T) {
	for _, c := range []struct {
		info xc.DomainInfo
		want driver.VCPUState
	}{
		{xc.DomainInfo{VCPUs: 1, Running: true, CPUTimeNS: 7}, driver.VCPUState{Online: true, Running: true, CPUTimeNS: 7}},
		{xc.DomainInfo{VCPUs: 1, Blocked: true}, driver.VCPUState{Online: true, Blocked: true}},
		{xc.DomainInfo{VCPUs: 1}, driver.VCPUState{Online: true}},
		// All of no vCPUs are blocked.
		{xc.DomainInfo{Blocked: true, CPUTimeNS: 9}, driver.VCPUState{CPUTimeNS: 9}},
	} {
		if got := onlyVCPU(&c.info); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.info, got, c.want)
		}
	}
}
