package trap_test

import (
	"fmt"

	"hangbench/monitor/trap"
)

// The traits of a mechanism tell what it restricts and what to compare it with.
func ExampleFind() {
	m, err := trap.Find("exec-altp2m")
	if err != nil {
		fmt.Println(err)
		return
	}
	site := trap.Site{Symbol: "__switch_to_asm", GFN: 0x1008}
	fmt.Printf("%s restricts frames %#x in a view of kind %s; its twin is %s\n",
		m.Name, m.Trapped(&site), m.View, m.TwinOf)
	// Output: exec-altp2m restricts frames [0x1008] in a view of kind altp2m; its twin is exec-step
}
