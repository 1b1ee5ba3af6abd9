package xentest_test

import (
	"fmt"
	"time"

	"hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
)

// A monitor takes execute permission off a page of the guest's kernel and lets
// the guest step over each instruction there.
func Example() {
	host := xentest.NewHost(xentest.Config{})
	defer host.Close()
	guest := host.NewGuest(xentest.GuestConfig{Name: "guest", Pages: 16})
	guest.VCPU(0).SetProgram(true,
		xentest.Instruction{RIP: 0xffffffff81003000, GPA: 0x3000},
		xentest.Instruction{RIP: 0xffffffff81005000, GPA: 0x5000},
		xentest.Instruction{RIP: 0xffffffff81003001, GPA: 0x3001},
		xentest.Instruction{RIP: 0xffffffff81005001, GPA: 0x5001})

	// From here on it is the program under test.
	store, xen := host.Store(), host.Xen()
	id, err := store.DomainByName("guest")
	check(err)
	dom := xen.Domain(id)
	m, err := dom.EnableMonitor()
	check(err)
	check(m.SingleStep(true))
	check(dom.SetMemAccess(5, 1, xenctrl.AccessRW))
	for n := 0; n < 4; {
		_, err := m.Wait(time.Second)
		check(err)
		var ev xenctrl.Event
		for ; m.Next(&ev); n++ {
			fmt.Printf("%v in frame %#x, rip %#x\n", ev.Reason, ev.GFN, ev.Regs.RIP)
			rsp := ev.Response()
			rsp.Flags |= xenctrl.FlagToggleSingleStep
			if ev.Reason == xenctrl.ReasonMemAccess {
				check(dom.SetMemAccess(5, 1, xenctrl.AccessRWX))
			} else {
				check(dom.SetMemAccess(5, 1, xenctrl.AccessRW))
			}
			check(m.Respond(&rsp))
		}
		check(m.Err())
	}
	fmt.Println(guest.Clean() != nil) // there is a monitor
	check(dom.SetMemAccess(5, 1, xenctrl.AccessRWX))
	check(m.Disable())
	fmt.Println(guest.Clean())
	// Output:
	// mem-access in frame 0x5, rip 0xffffffff81005000
	// single-step in frame 0x3, rip 0xffffffff81003001
	// mem-access in frame 0x5, rip 0xffffffff81005001
	// single-step in frame 0x3, rip 0xffffffff81003000
	// true
	// <nil>
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
