// Package stress lists the workloads with which the cost of a monitor is measured: the
// stressor of stress-ng, its arguments, and what one of its operations is. It also
// parses the results of stress-ng.
//
// guests/lab puts stress-ng into the guest's initramfs, guests/init runs it there, and
// bench/trial asks for it through guests/beat. A new workload is one line in the table
// here and a scenario in scenarios.
package stress
