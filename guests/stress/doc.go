// Package stress says what work a guest is put to when the price of a monitor is
// measured: which stressor of stress-ng with which arguments, and what one of its
// operations is. It also reads what stress-ng says it has done.
//
// guests/lab puts the program into the guest's initramfs, guests/init runs it
// there, and bench/trial asks for it through guests/beat. Adding a workload is
// adding a line to the table here and a scenario to scenarios.
package stress
