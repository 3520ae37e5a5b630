{{- /*
Node classes. Declared helpers:
  karpenter-nodepools.nodeClass             one class with the defaults below it, checked, as JSON
  karpenter-nodepools.terms                 a map of selector terms as the list that the API takes
  karpenter-nodepools.discoveryTerms        the same, or the discovery tag when the map is empty
  karpenter-nodepools.autoModeReservations  reservation terms as Auto Mode's NodeClass spells them
  karpenter-nodepools.clusterName           name of the cluster, which is needed
  karpenter-nodepools.role                  IAM role of the nodes
  karpenter-nodepools.tags                  tags of the instances, or nothing
  karpenter-nodepools.blockDeviceMappings   volumes on the devices that the AMI family uses
  karpenter-nodepools.networkInterfaces     interfaces, or nothing when Karpenter is to decide
  karpenter-nodepools.userData              user data in the format of the AMI family, or nothing
*/ -}}

{{- /* Usage: include "karpenter-nodepools.nodeClass" (tuple . NAME) | fromJson */ -}}
{{- define "karpenter-nodepools.nodeClass" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $class := include "common.merge" (tuple $root.Values.nodeClassDefaults (get $root.Values.nodeClasses $name)) | fromJson -}}
{{- if $class.enabled -}}
{{- include "karpenter-nodepools.checkNodeClass" (tuple $root $name $class) -}}
{{- end -}}
{{- toJson $class -}}
{{- end -}}

{{- define "karpenter-nodepools.clusterName" -}}
{{- include "common.global" (tuple . "clusterName") | required "karpenter-nodepools: the node classes find their subnets and role by the cluster's name: set global.clusterName" -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.terms" MAP. Sorted by name; an entry that a later file set to null is left out. */ -}}
{{- define "karpenter-nodepools.terms" -}}
{{- $terms := list -}}
{{- range $name := keys . | sortAlpha -}}
{{- with get $ $name -}}
{{- $terms = append $terms . -}}
{{- end -}}
{{- end -}}
{{- toYaml $terms -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.discoveryTerms" (tuple . TERMS) */ -}}
{{- define "karpenter-nodepools.discoveryTerms" -}}
{{- if index . 1 -}}
{{- include "karpenter-nodepools.terms" (index . 1) -}}
{{- else -}}
- tags:
    karpenter.sh/discovery: {{ include "karpenter-nodepools.clusterName" (index . 0) }}
{{- end -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.autoModeReservations" MAP. The owner's account is ownerID in Karpenter and owner here. */ -}}
{{- define "karpenter-nodepools.autoModeReservations" -}}
{{- $terms := dict -}}
{{- range $name, $term := . -}}
{{- if hasKey ($term | default dict) "ownerID" -}}
{{- $term = set (omit $term "ownerID") "owner" $term.ownerID -}}
{{- end -}}
{{- $_ := set $terms $name $term -}}
{{- end -}}
{{- include "karpenter-nodepools.terms" $terms -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.role" (tuple . CLASS) */ -}}
{{- define "karpenter-nodepools.role" -}}
{{- (index . 1).role | default (printf "KarpenterNodeRole-%s" (include "karpenter-nodepools.clusterName" (index . 0))) -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.tags" (tuple . CLASS) */ -}}
{{- define "karpenter-nodepools.tags" -}}
{{- $shared := (index . 0).Values.global | default dict -}}
{{- with include "common.merge" (tuple $shared.tags (index . 1).tags) | fromJson -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.blockDeviceMappings" CLASS. Bottlerocket keeps its system apart, on a small volume. */ -}}
{{- define "karpenter-nodepools.blockDeviceMappings" -}}
{{- $bottlerocket := eq .amiFamily "Bottlerocket" -}}
{{- if $bottlerocket -}}
- deviceName: /dev/xvda
  ebs:
    volumeSize: 4Gi
    volumeType: gp3
    encrypted: true
    deleteOnTermination: true
    {{- with .volume.kmsKeyID }}
    kmsKeyID: {{ . }}
    {{- end }}
{{ end -}}
- deviceName: {{ ternary "/dev/xvdb" "/dev/xvda" $bottlerocket }}
  ebs:
    volumeSize: {{ .volume.size }}
    volumeType: gp3
    iops: {{ int .volume.iops }}
    throughput: {{ int .volume.throughput }}
    deleteOnTermination: true
    {{- if .volume.snapshotID }}
    {{- /* EC2 takes no encryption setting beside a snapshot: the volume is encrypted as the snapshot is. */}}
    snapshotID: {{ .volume.snapshotID }}
    volumeInitializationRate: {{ int .volume.volumeInitializationRate }}
    {{- else }}
    encrypted: true
    {{- with .volume.kmsKeyID }}
    kmsKeyID: {{ . }}
    {{- end }}
    {{- end }}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.networkInterfaces" CLASS. One EFA-only interface on each network card, the node's own on the first. */ -}}
{{- define "karpenter-nodepools.networkInterfaces" -}}
{{- $cards := int .efa.networkCards -}}
{{- if gt $cards 0 -}}
- networkCardIndex: 0
  deviceIndex: 0
  interfaceType: interface
{{- range $card := until $cards }}
- networkCardIndex: {{ add $card (int $.efa.firstCard) }}
  deviceIndex: 1
  interfaceType: efa-only
{{- end }}
{{- else if .networkInterfaces -}}
{{- include "karpenter-nodepools.terms" .networkInterfaces -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.userData" CLASS */ -}}
{{- define "karpenter-nodepools.userData" -}}
{{- $own := trim .userData -}}
{{- if not .sociParallelPull.enabled -}}
{{- $own -}}
{{- else if eq .amiFamily "Bottlerocket" -}}
[settings.container-runtime]
snapshotter = "soci"

[settings.container-runtime-plugins.soci-snapshotter]
pull-mode = "parallel-pull-unpack"
{{- with $own }}

{{ . }}
{{- end -}}
{{- else -}}
{{- $config := include "karpenter-nodepools.fastImagePull" . -}}
{{- if $own -}}
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="//"

--//
Content-Type: application/node.eks.aws

{{ $config }}

--//
Content-Type: {{ ternary "text/x-shellscript; charset=\"us-ascii\"" "application/node.eks.aws" (hasPrefix "#!" $own) }}

{{ $own }}

--//--
{{- else -}}
{{- $config -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "karpenter-nodepools.fastImagePull" -}}
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  featureGates:
    FastImagePull: true
{{- end -}}
