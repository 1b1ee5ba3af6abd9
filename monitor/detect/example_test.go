package detect_test

import (
	"fmt"

	"hangbench/monitor/detect"
)

// A guest with one vCPU runs in its idle task and then spins in the slow path of a
// spinning lock. The detector gets a sample every 100 ms.
func Example() {
	thresholds := detect.DefaultThresholds()
	if err := thresholds.Set("spin_ms", 300); err != nil { // 500 ms is the default
		fmt.Println(err)
		return
	}
	d := detect.NewDetector(thresholds)

	vcpu := detect.VCPU{Online: true, Blocked: true} // idle: halted, no task to run
	for ms := int64(100); ms <= 1000; ms += 100 {
		if ms > 400 { // it spins: it runs, and its count of task switches stands still
			vcpu.Blocked, vcpu.Running = false, true
			vcpu.CPUTimeNS += 100e6
			vcpu.Sampled, vcpu.InterruptsOn = true, true
			vcpu.Symbol, vcpu.Offset = "queued_read_lock_slowpath", 0x4a
			vcpu.Lock = "rbx = tasklist_lock"
		}
		o := detect.Observation{TimeNS: ms * 1e6, VCPUs: []detect.VCPU{vcpu}}
		if v, hung := d.Observe(&o); hung {
			fmt.Printf("%d ms: %s, %s\n", v.TimeNS/1e6, v.Class, v.Scope)
			for _, e := range v.Evidence {
				fmt.Println(" ", e)
			}
		}
	}

	// Output:
	// 700 ms: spin, full
	//   vCPU 0: no task switch for 300 ms while it ran 100% of the time
	//   vCPU 0: RIP in queued_read_lock_slowpath+0x4a..0x4a at 3 of 3 samples, interrupts on at 3 of these
	//   vCPU 0: rbx = tasklist_lock
}
