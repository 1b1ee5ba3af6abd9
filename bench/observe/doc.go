// Package observe has everybody who can watch the guest of a trial: each of them is a
// trial.Observer.
//
//   - Monitor (ours.go) is our own monitor, attached to the guest from dom0.
//   - Linux (watchdogs.go) is the watchdogs of the guest's own kernel, which report on
//     its console.
//   - Xen (xen.go) is Xen's domain watchdog, which ends a guest that does not reset it.
//   - Exec (exec.go) is any program in dom0 that prints its reports as lines of JSON.
//
// All says which of them watch in a trial. A new observer is a file here, and a line in
// All.
package observe
