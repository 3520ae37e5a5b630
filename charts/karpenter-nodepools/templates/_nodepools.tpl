{{- /*
Node pools. Declared helpers:
  karpenter-nodepools.nodePool      one pool with the defaults of its accelerator below it, checked, as JSON
  karpenter-nodepools.requirements  requirements as the API takes them, under the labels of who runs the nodes
  karpenter-nodepools.taints        a map of taints as a list
  karpenter-nodepools.labels        labels of the nodes, or nothing
*/ -}}

{{- /* Usage: include "karpenter-nodepools.nodePool" (tuple . NAME) | fromJson */ -}}
{{- define "karpenter-nodepools.nodePool" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $own := get $root.Values.nodePools $name | default dict -}}
{{- $defaults := $root.Values.nodePoolDefaults -}}
{{- $kind := get $own "accelerator" | default $defaults.any.accelerator -}}
{{- $base := include "common.merge" (tuple $defaults.any (get $defaults $kind)) | fromJson -}}
{{- $pool := include "common.merge" (tuple $base $own) | fromJson -}}
{{- $_ := set $pool "nodeClass" ($pool.nodeClass | default (get (dict "none" "cpu" "nvidia" "gpu" "neuron" "neuron") $kind)) -}}
{{- $_ := set $pool "zones" ($pool.zones | default (($root.Values.global | default dict).zones | default list)) -}}
{{- $_ := set $pool "expireAfter" ($pool.expireAfter | default (ternary "336h" "720h" (not (empty (include "common.autoMode" $root))))) -}}
{{- if $pool.enabled -}}
{{- include "karpenter-nodepools.checkNodePool" (tuple $root $name $pool) -}}
{{- end -}}
{{- with $pool.sharing -}}
{{- $label := "nvidia.com/device-plugin.config" -}}
{{- $_ := set $pool.labels $label . -}}
{{- $_ := set $pool.taints $label (dict "value" . "effect" "NoSchedule") -}}
{{- end -}}
{{- toJson $pool -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.requirements" (tuple . POOL) */ -}}
{{- define "karpenter-nodepools.requirements" -}}
{{- $root := index . 0 -}}
{{- $pool := index . 1 -}}
{{- $requirements := list
      (dict "key" "kubernetes.io/arch" "operator" "In" "values" $pool.architectures)
      (dict "key" "karpenter.sh/capacity-type" "operator" "In" "values" $pool.capacityTypes) -}}
{{- if $pool.zones -}}
{{- $requirements = append $requirements (dict "key" "topology.kubernetes.io/zone" "operator" "In" "values" $pool.zones) -}}
{{- end -}}
{{- range $key := keys $pool.requirements | sortAlpha -}}
{{- $requirement := get $pool.requirements $key -}}
{{- if $requirement -}}
{{- $label := include "common.nodeLabel" (tuple $root $key) -}}
{{- $kept := dict "key" $label -}}
{{- range $field, $value := $requirement -}}
{{- if not (kindIs "invalid" $value) -}}{{- $_ := set $kept $field $value -}}{{- end -}}
{{- end -}}
{{- $requirements = append $requirements $kept -}}
{{- end -}}
{{- end -}}
{{- toYaml $requirements -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.taints" (tuple KIND TAINTS), with KIND none where the accelerator adds nothing */ -}}
{{- define "karpenter-nodepools.taints" -}}
{{- $taints := list -}}
{{- with include "common.accelerator.resourceName" (index . 0) -}}
{{- $taints = append $taints (dict "key" . "effect" "NoSchedule") -}}
{{- end -}}
{{- range $key := keys (index . 1) | sortAlpha -}}
{{- with get (index $ 1) $key -}}
{{- $taints = append $taints (merge (dict "key" $key) .) -}}
{{- end -}}
{{- end -}}
{{- if $taints -}}
{{- toYaml $taints -}}
{{- end -}}
{{- end -}}

{{- /*
Usage: include "karpenter-nodepools.labels" (tuple . POOL)
Nodes say where the plugin of their devices comes from, so that the plugins of the suite leave alone those that bring one.
*/ -}}
{{- define "karpenter-nodepools.labels" -}}
{{- $root := index . 0 -}}
{{- $pool := index . 1 -}}
{{- $labels := deepCopy $pool.labels -}}
{{- $class := include "common.merge" (tuple $root.Values.nodeClassDefaults (get $root.Values.nodeClasses $pool.nodeClass)) | fromJson -}}
{{- $autoMode := include "common.autoMode" $root -}}
{{- if eq $pool.accelerator "nvidia" -}}
{{- $bundled := or $autoMode (eq $class.amiFamily "Bottlerocket") -}}
{{- $_ := set $labels "drydock.dev/nvidia-device-plugin" ($pool.dynamicResourceAllocation | ternary "none" (ternary "bundled" "chart" (not (empty $bundled)))) -}}
{{- else if eq $pool.accelerator "neuron" -}}
{{- $_ := set $labels "drydock.dev/neuron-device-plugin" (ternary "bundled" "chart" (not (empty $autoMode))) -}}
{{- end -}}
{{- $efa := gt (int $class.efa.networkCards) 0 -}}
{{- range $class.networkInterfaces -}}
{{- $efa = or $efa (eq (default dict .).interfaceType "efa-only") -}}
{{- end -}}
{{- if $efa -}}
{{- $_ := set $labels "drydock.dev/efa-device-plugin" (ternary "bundled" "chart" (not (empty $autoMode))) -}}
{{- end -}}
{{- if $labels -}}
{{- toYaml $labels -}}
{{- end -}}
{{- end -}}
