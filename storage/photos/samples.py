"""Whether each picture format can be decoded on this machine: a small picture of each is tried."""

from __future__ import annotations

import base64
import zlib

from storage.errors import PhotoError
from storage.photos.decoder import Decoder

_SAMPLES = {
    "JPEG": (
        "c-s4a<NpH&0WUXCHwH#V1_nkTWcYuZ!I^=Xi3x;&fCY$HIapa)SXjB(+1WUFxOjNDxwyG``Gf>``2_j6xdp@"
        "o1cgOJMMZh|#U;c<B!omnMgAXP;O1ZuU=Uzr6lC~+gh3u?I4dI<FhBt#6VPBbb`DN1ZlHp#0t`%y%*;$I%pj"
        "|Pvb8{Y1{Oh9Aw@$+HsQcTcBMiQqsEB~Ih36?9uy6__(8=usi=vQOH5osQc6`#T|-mL#MI2(!qUpw#nsK-!_"
        "zA`Bs45MA~GsDB{eNQBQvYGq_nKOqOz*FrM0cSqqA$$<SA39O`kDy)}qBrmM&YqV&$q$o40J;wtdIWU55@II"
        "eP5)iIb-;UA}Vl+VvYZZ#{hU_{q~}&tJTJ_3_i^FJHfX|MBzJ|62?kAph7i{P@rCE%!ge^!P*jL+jJ-|1ABZ"
        "{b@D2$p4!FqilOZ"
    ),
    "PNG": (
        "c-rd>@N?(olHy`uVBq!ia0vp^0wBx*Bp9q_EZ7UAggspxLn`JZrwBN(`tW2Vq;N7YaI9w(IH+!R0i?{+)z4*"
        "}Q$iB}1`rR="
    ),
    "TIFF": (
        "c-r&y)MDUZU|`^7U|?inU<9%RfS3`9&BVwIW`k5QL)olA%m!tHupm_Z1t1nh5*I@<M;yvd0AeXdRxo=N5KBY"
        "Zn}ApYNv|Oz69W&B-o*d`jA*zdGc7GGGbdHApppRr8W@<E7#kTDBv>d2aj`ZtE_hJkuwX)li<Tr`hs%Nu6+U"
        "{>{2d1#7e;(Zau)7$UHoyTNRYMo1h=J^R+^j&R-JJ=?K5Y}B2SyiC!T)V#dEIEcA>Aj@hh2YrS^+_R|#cs00"
        "1GyF&F"
    ),
    "WEBP": (
        "c-jl{baS&{U|<M$bqWXzu<+3Vvi127Ff-IE2zWT%h_7gEl<4^BpToYH;ey5yA#a_HAj0^D{KfwaPfNaw0{}bU6@>"
    ),
    "BMP": (
        "c-rNZXEzWG0EHiWWTiw@lnSYg(9S5SBoaweQp!q0T1Hk2kq8Z=(iEapR93X3sf<vl5ZX)o{TJ^&=Q;P@bH86"
        "RD<cv9%19VAf4kg&2q6A%5P%YyfBeaR`C|eC2nq@!BqW5eurMMbB8ZBLA|@t=xVShH5)w#CO46-cH>9Mbkd~"
        "H4Mn(o%Sy|-d<mleLJM!}K^ytxpo;`b_prAmnUcFFMR76QhiQc_?qpYlqii!$-`t+f1-@f$g*AG=yRn*kf=-"
        "<CT0|pF0U0t1l0|zo_&>#j69*l;D2AZ0hXlZFNWXKS-wY3>KbST4y4P*H5;pph-psTBko}M21`udC*F#-bv0"
        "}KrfF)}h@<j9eX8a0a1qenAl%oxUw9m}|J;}}1FJQF5Nz}VOr6B83mO-(T~Gh^b!iA<U_33GFECQqJ>g@pxE"
        "rc7b#)TvCHHVsQlOQuhsj+K=aGiJ=d+S(c$8yjZMoQbWiEwg6L!p_bPdwY9k&z_Bgg9CHs%)!yok-2l{GH>2"
        "I=Fgwcf&~j$xNsqh7A?Zb$%(~_7vt>g%#tNbaB*>A>C&YvTeb{WS67xVU(SjZD{ymj!`<B-4-XGKJw5UA@?z"
        "!6m3Vu5vuf2UR<B;onl)=!yLK%;K0d5lw+>%lU)HZ*&xQ>f*tl^cn>KA?^XAR?`T61R?@vHL0D*ylY}vAfpr"
        "9avgM$eP2_ZBzl(4Wcwr<_Zwr$(kzI{78cI;s1&YgsZhZ7MIL1bhkyLRm&Dk_TT=xBED-c3wQ414zMAvQLax"
        "VSj>?%hj#d^`yW2_z;avTxr$_V3@%fddCPc<>-eNl7FpCzFzrLTYL%hYlU$@ZrN8IdX)wv^0($J<73T$2flc"
        "I44e=;N;1ZoH})i^z?L2pFT}SMh2OgnPg>Uapue!va_?v$;sjD*|VHGcaGfLT+W|A&xH#YxOnj*d3kx{=jU_"
        "j(j_imzRZ;?S12ebps=uzqM{;-i;F2KDdFnXtCW_OQdU;RwQJY7e*HQ(ZrtGJ&70i1b&K1#Z*%9)9q!(}OL="
        ")Y6%`fSyLXTK_wV!I!2=#Xe8{6mk9hp}F_o2-JbChjr%#_!RaHfGbu~3LHPqJD^6c3&>gwvKudk<}p@HYmpY"
        "!6y3mO|6X=-Ysxw)B_FJJQN)hk}VeoaeD3$3lKw6(SI=FJ=0+uP~r=%BN+lecf*^6uR`-oJm(hYuh4`0*p3K"
        "7Hcz=g)lk@`bNozw+(dH@<)WPFGhKKYsk+=g*(N4?<1X#Ky@xFe*8-puDc*|JHv2XN>ub"
    ),
    "GIF": (
        "c-nLKbh9u|6krfwXl4Kb0RaI81qA~G0|y6(fPjF6goJ{Ef`*2M2@@tPSg>Hjh7AV}9Jp}d!h;77K79C~1J(h"
        "A4jc&#j4T2M4GxUV>;ftQ8yXy$+4)(7OgaJ-o!bRe#cXC2Bpz-TWY1gkLNNJ6r;Kjh8I4Iv$Ga6wcZFmIrJb"
        "5&7=5qhq>!rTJazYdF_I-}=jJ(OKKo+1W!bs;F1b#ok^&6Y0J+0FZ~"
    ),
    "PPM": ("c-jjvRWLLIAtO^$E(QSw1BZZwf`$nTHXOL{;KNAc0{~ZYdRh"),
    "JPEG2000": (
        "c-muNVBpCLP*C9IYUg5LU=T?wsVvAUFj4@r8KAT-kj?<oVwo8!ML=2rj2YS4L24NIlk;<m7{N?IAYKPloc!P"
        "ae;|V<SWEzlVE~oS$j-?4KZt<`#AIM$VPRnWAHyKv;NamA07w5*7*rV;or_WvOHxx5k}4Ja3sUpE0$kk{%2J"
        "DpGxPHljPy+PO#V+`-~yXz05oLs@hdDG`sWXDu*4s~#m2zP#CrG@D}$00M{NDU&n*mQ3um7He-i+eiZz)"
    ),
    "JXL": ("c-s5V<?Ik}hl7KKkzoykw?wz-fesV*;}Uy*Gchp!@toAc`2Rn{{QnFS|1$^zfu&&4$Ms597aG0;05*&jqy"),
    "AVIF": (
        "c-muNU{FXasVqn=%S>Yc0uY^>nP!-qnV9D5Xy^nKdYzkElE?r7iWw<6MNl?FL1uCZ0~+8f$SlbPvlxL`E;A="
        "T8N_h`@fjhajKV-#7l<`7GxO5mYNddjR3<1dvCP2GIX@>KY*$uhK~Vva_RcIw&Ii&WnZ*UEQ2PX6xFEA46C}"
        "XQ!NCEfcoNGDof{c=KtjUF`8h>-$vG83lX)4~8h}FLnFYBpKLH)a!pPLj0%V%zrX-dKF>rB8@ch4}pt#^dgO"
        "Qxb@%FY<CJu#p0YC*-cN||U|5+1~e<A<&#3eK5CIA3jXFc8"
    ),
    "HEIF": (
        "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>UfiWyMwIq=N0u(b+a*CjAhJwuG5(YG&l$nzcHpIn&fe{FSfUyc"
        "f1A#gaD`#frrGa@MQBfc#l?lqrC`&d3G5HEIOLE~#u4NV!6#(h&nFY!DK)M2`%$boHBs2l6NbUo}pT9qTFfi"
        "~lCjfOwI56@s{{IhBzzkBs3_^0dm>d#;lG;v;jA$|o6dGBlz4Fvtm&YW<!vPXH0U|gYl7Q;jT^J7*ZBTLmS|"
        "gmCpHq~VoKpc5=4D`O01Am@78j&K{pJA00tJ~BnIHjX4i2Dc4C0vuxv<~^h6qa|6Eh2tsh^vY2ns!A4aW7t4"
        "ZM=4r_bSwRVwanG=H%FfW6DjvTsvgKK=EocG8OkYXD}MQU("
    ),
    "JPEGLS": (
        "c-s4a<Npf=h2Q{BH#Y_*1_nk31_l8T=Hg%jvKe(i7^s2+D8~5z#{cgO+#Em!0*s7;4F7L2a4>>2Ftp1q-kSOM?"
        "(W?ZX_~S#XXkFX?WwYARcdHx=<5Hq^8ai9*U$f72_mZh*Vq5g2MO%|U;e-D|4je{tTB2"
    ),
    "LJPEG": (
        "c-s4a<Npx`aRx>pU_b&~Jlq2R4>NEJFaRMVgCN8ITMQgP6>JO)ub4DA7AQ4zVN%Kk<s1)Xlv@h=1P@ub!<l(}S"
        "OhJ658lBPbm!b*jVZ|S(3~BMpp4pscbJ08Eq7$G2o}t4-hnCDCp?&)-0=S<0NVMGu>"
    ),
    "JPEG12": (
        "c-s4a<NpH&0WUXCHwH#V1_nkTWcYuZ!I^=VlZ%^+gO{6&n~#r|Usyp@SV%}%T}Dn^K~K}rKu=Rw$Jolt&e+V&T"
        "u0X-+|kX)FDN+3$Sx`|Dj>ltFv$P^K?ZIf1_1^EMn*w~|3?@^!R8|aE_R@>lmG(*JE}Mbr>dz_(EnQu93UO`49"
        "c88d>%_1JItN@VdgQjw5EjlE$0k3n{eK==bV$AmSO+@CIGvHD~<"
    ),
    "DNG": (
        "c-r&y)MDUZU|<ktU|?inU<9%hfS3`9&BVwIW(xo@Gn5U&Y*4mx0|SE~RDA=G5JgfWhGdR7lnt^@ijft}{shF"
        "*Q1&k%)<Dv0$jHRN1Gb-mp|^>dfeFM0!oDU(1{MaeBbkJbLD)c}8AOgTF>nLfd_eVz$G8|c89?>`%{<1+zzk"
        "$3fh}i%n-9Y!nQ3WhnK`L?1(giW8AbWIiD^0c<p_BO95k`=xG)U7V7|b<gL?sghj4*-gtUXahO&VA53L7!Cy"
        "X|j&9G{)%Ww*Cv+z>z;|Tf?dL!~c?25z*sTG+CxgLcEr4p5+`bYJT>L1lVs()1fsQ#g+9{?YJ^#l"
    ),
    "RAW": (
        "c-pOyy-Gtt5QS%UZ|=RC8GjIe&?aCbc?&TXX(UAoTgx<FiFtsKUZ2a#hwuq3Eu9@U;R=xp;qWoLhh_J$eB<$uY"
        "9cx!;)2-HjSc5~VG}rdwi^_4PE+Q5y(Bv1Kqr<z(>==vwtv|i=bp5jw%(q#`p<J-Rz#QF^ZaddmGe*fQ|s;9Dp"
        "E-QGTv8Ah4*thqRIWk^!9OZ*UVp<`O{+7Ja5j1v)9F7v}sw-#~OBm6P?28WlE=VYG=>c&-5Mn)AoN~+0obE+7~"
        "+ds*XO{+7~<e>Ye&_vnODC0=6e$djhs6V0!|#Ct!ODwx?iw3bv<UdkVIvV0#L-r(k;uwx?iw3bv<Ud-@Ca1sYl"
    ),
}
"""By format, of 16 to 64 pixels a side: zlib, then base 85."""


def sample(name: str) -> bytes:
    """A small, whole gray picture of a format, as a file."""
    return zlib.decompress(base64.b85decode(_SAMPLES[name]))


def codec_problems() -> dict[str, PhotoError | None]:
    """For each format why its sample cannot be decoded, None where it can.

    In a process of its own: a codec that was built for another processor kills the one it runs in.
    """
    decoder = Decoder()
    try:
        return {name: _problem(decoder, name) for name in _SAMPLES}
    finally:
        decoder.close()


def _problem(decoder: Decoder, name: str) -> PhotoError | None:
    try:
        photo = next(iter(decoder.pages(sample(name), max_megapixels=1)))
    except PhotoError as error:
        return error
    if photo.header.format == name and photo.pixels.min() < photo.pixels.max():
        return None
    return PhotoError("DAMAGED", "expected a picture of grays, got another one")
