{{- /*
Rules that several NetworkPolicies have. Declared helpers:
  jupyterhub.corePeer  peer of servers: hub or proxy, which may be in another namespace; takes (tuple ROOT COMPONENT)
  jupyterhub.serverPeer  peer of hub and proxy: the servers; takes the root
  jupyterhub.internet  ipBlocks of everything that is neither private nor of the node; takes the root
*/ -}}

{{- define "jupyterhub.corePeer" -}}
{{- $root := index . 0 -}}
{{- include "common.peer" . }}
{{- if ne (include "jupyterhub.namespace" $root) $root.Release.Namespace }}
  namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ $root.Release.Namespace }}
{{- end -}}
{{- end -}}

{{- define "jupyterhub.serverPeer" -}}
{{- include "common.peerIn" (tuple . "singleuser-server" (include "jupyterhub.namespace" .)) -}}
{{- end -}}

{{- /* Link-local addresses are of the node: the instance metadata service and the Pod Identity agent are among them. */ -}}
{{- define "jupyterhub.internet" -}}
{{- $four := list "0.0.0.0/8" "10.0.0.0/8" "100.64.0.0/10" "127.0.0.0/8" "169.254.0.0/16" "172.16.0.0/12" "192.0.0.0/24" "192.168.0.0/16" "198.18.0.0/15" "224.0.0.0/3" -}}
{{- $six := list "::/127" "64:ff9b::/96" "fc00::/7" "fe80::/10" "ff00::/8" -}}
{{- range $name, $cidr := .Values.singleuser.networkPolicy.privateRanges -}}
{{- if $cidr -}}
{{- if contains ":" $cidr }}{{ $six = append $six $cidr }}{{ else }}{{ $four = append $four $cidr }}{{ end -}}
{{- end -}}
{{- end -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except: {{ uniq $four | toJson }}
- ipBlock:
    cidr: ::/0
    except: {{ uniq $six | toJson }}
{{- end -}}
