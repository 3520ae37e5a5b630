{{- /*
What follows from the size of the weights and the number of accelerators. Declared helpers:
  vllm.mebibytes    MiB of a quantity in Mi, Gi or Ti
  vllm.quantity     a quantity of so many MiB
  vllm.millicores   thousandths of a CPU of a quantity
  vllm.sizes        everything below, as JSON; takes a model's context
      devices             accelerators of a pod, 1 for a pod without
      cpu                 thousandths of a CPU
      memory              MiB, with what lies in /dev/shm
      sharedMemory        MiB of /dev/shm
      cache, tmp          MiB
      disk                MiB of the node's disk that the pod may fill
      startupSeconds      until a pod that does not answer counts as failed
      startupFailures     the same in looks of the startup probe
      progressSeconds     until a rollout counts as failed
      graceSeconds        until a pod that is to stop is killed
*/ -}}

{{- define "vllm.mebibytes" -}}
{{- $factors := dict "Mi" 1 "Gi" 1024 "Ti" 1048576 -}}
{{- mul (regexFind "^[0-9]+" . | int64) (get $factors (regexFind "[A-Za-z]+$" .)) -}}
{{- end -}}

{{- define "vllm.quantity" -}}
{{- $mebibytes := int64 . -}}
{{- if eq 0 (mod $mebibytes 1024 | int) }}{{ div $mebibytes 1024 }}Gi{{ else }}{{ $mebibytes }}Mi{{ end -}}
{{- end -}}

{{- define "vllm.millicores" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- if hasSuffix "m" . }}{{ $number }}{{ else }}{{ mul $number 1000 }}{{ end -}}
{{- end -}}

{{- define "vllm.sizes" -}}
{{- $model := .model -}}
{{- $resources := $model.resources -}}
{{- if not $model.source.size -}}
{{- fail (printf "models.%s.source.size: the startup probe, the cache and the disk are sized by it: set the size of the weights, such as 15Gi" .name) -}}
{{- end -}}
{{- $weights := include "vllm.mebibytes" $model.source.size | int64 -}}
{{- $devices := ternary 1 (int $model.accelerator.count) (eq $model.accelerator.kind "none") -}}
{{- $cpu := mul $devices (include "vllm.millicores" $resources.perAccelerator.cpu | int64) -}}
{{- if $resources.cpu }}{{ $cpu = include "vllm.millicores" $resources.cpu | int64 }}{{ end -}}
{{- $memory := mul $devices (include "vllm.mebibytes" $resources.perAccelerator.memory | int64) -}}
{{- if $resources.memory }}{{ $memory = include "vllm.mebibytes" $resources.memory | int64 }}{{ end -}}
{{- $shared := mul $devices (include "vllm.mebibytes" $resources.perAccelerator.sharedMemory | int64) -}}
{{- if $resources.sharedMemory }}{{ $shared = include "vllm.mebibytes" $resources.sharedMemory | int64 }}{{ end -}}
{{- $cache := int64 10240 -}}
{{- $copies := has (include "vllm.source" .) (list "huggingFace" "ngc") | ternary 1 0 -}}
{{- /* Neuron adds a copy of the Hub's weights, in 32 bit, and the compiled model, which holds them once more. */ -}}
{{- if eq $model.accelerator.kind "neuron" }}{{ $copies = add1 (mul 3 $copies) }}{{ end -}}
{{- if $copies }}{{ $cache = add $cache (mul 1024 (div (mul $copies $weights 11) 10240 | add1)) }}{{ end -}}
{{- if $model.cache.size }}{{ $cache = include "vllm.mebibytes" $model.cache.size | int64 }}{{ end -}}
{{- $tmp := include "vllm.mebibytes" $resources.tmp | int64 -}}
{{- $startup := add (div $weights (int64 $model.startup.throughput)) (int64 $model.startup.compileSeconds) -}}
{{- if not (kindIs "invalid" $model.startup.timeoutSeconds) -}}
{{- if lt (int64 $model.startup.timeoutSeconds) $startup -}}
{{- fail (printf "models.%s.startup.timeoutSeconds: %d s end before %s have arrived at %d MiB/s and been compiled (%d s), so the pod would be killed again and again: set %d or more, or raise startup.throughput to what was measured" .name (int64 $model.startup.timeoutSeconds) $model.source.size (int64 $model.startup.throughput) $startup $startup) -}}
{{- end -}}
{{- $startup = int64 $model.startup.timeoutSeconds -}}
{{- end -}}
{{- $period := int64 $model.startup.periodSeconds -}}
{{- $failures := div (add $startup $period -1) $period -}}
{{- $drain := add (int64 $model.shutdown.preStopSeconds) (int64 $model.shutdown.drainSeconds) -}}
{{- $grace := add $drain 15 -}}
{{- if not (kindIs "invalid" $model.shutdown.terminationGracePeriodSeconds) -}}
{{- if le (int64 $model.shutdown.terminationGracePeriodSeconds) $drain -}}
{{- fail (printf "models.%s.shutdown.terminationGracePeriodSeconds: the pod would be killed after %d s, while requests may run for preStopSeconds + drainSeconds = %d s: set more than that" .name (int64 $model.shutdown.terminationGracePeriodSeconds) $drain) -}}
{{- end -}}
{{- $grace = int64 $model.shutdown.terminationGracePeriodSeconds -}}
{{- end -}}
{{- $sizes := dict "devices" $devices "cpu" $cpu "memory" $memory "sharedMemory" $shared "cache" $cache "tmp" $tmp -}}
{{- $_ := set $sizes "disk" (ternary (add $cache $tmp) $tmp (eq $model.cache.type "emptyDir")) -}}
{{- $_ := set $sizes "startupSeconds" (mul $failures $period) -}}
{{- $_ := set $sizes "startupFailures" $failures -}}
{{- $_ := set $sizes "progressSeconds" (add (mul $failures $period) (int64 $model.startup.nodeSeconds)) -}}
{{- $_ := set $sizes "graceSeconds" $grace -}}
{{- toJson $sizes -}}
{{- end -}}
