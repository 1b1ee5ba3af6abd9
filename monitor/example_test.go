package monitor_test

import (
	"fmt"
	"log"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/linux"
	"hangbench/monitor/trap"
)

// A session watches one guest until it is detached. The driver comes from
// driver/xenctrl or driver/libvmi, the kernel from linux.Open.
func ExampleAttach() {
	var guest driver.Driver
	var kernel *linux.Kernel

	mechanism, err := trap.Find("exec-altp2m")
	if err != nil {
		log.Fatal(err)
	}
	const switchFunction = "__switch_to_asm"
	va, err := kernel.Symbol(switchFunction)
	if err != nil {
		log.Fatal(err)
	}
	gpa, err := kernel.Translate(va)
	if err != nil {
		log.Fatal(err)
	}
	session, err := monitor.Attach(monitor.Config{
		Driver:     guest,
		Mechanism:  mechanism,
		Site:       trap.Site{Symbol: switchFunction, VA: va, GFN: gpa >> 12},
		Symbols:    kernel,
		Kernel:     kernel,
		Thresholds: detect.DefaultThresholds(),
		Sample:     100 * time.Millisecond,
		Now: func() int64 {
			var now unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
				log.Fatal(err)
			}
			return now.Nano()
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	select {
	case v := <-session.Verdict():
		fmt.Println(v.Class, v.Scope, v.Evidence)
	case <-time.After(time.Minute):
		fmt.Println("no hang")
	}
	counters, err := session.Detach()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(counters.Signals, "task switches in", counters.Events(), "events")
}
