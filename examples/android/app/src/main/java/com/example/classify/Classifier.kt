package com.example.classify

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Matrix
import com.taobao.android.mnn.MNNImageProcess
import com.taobao.android.mnn.MNNNetInstance
import java.io.File
import kotlin.math.exp
import kotlin.math.max
import kotlin.math.roundToInt

/** What README.md of the export says: the side of the input, the short side before the cut, and (pixel - mean) * normal. */
private const val SIZE = 224
private const val SHORT_SIDE = 256
private val MEAN = floatArrayOf(123.675f, 116.28f, 103.53f)
private val NORMAL = floatArrayOf(0.0171247538f, 0.0175070028f, 0.0174291939f)

/** A network of the assets. Not for several threads at once. */
class Classifier(context: Context) {
    private val labels = context.assets.open("labels.txt").bufferedReader().readLines()
    private val net = MNNNetInstance.createFromFile(unpacked(context, "inference.mnn"))
    private val session = net.createSession(MNNNetInstance.Config().apply { numThread = 2 })
    private val input = session.getInput(null)
    private val pixels = MNNImageProcess.Config().apply {
        mean = MEAN
        normal = NORMAL
        dest = MNNImageProcess.Format.RGB
    }

    /** The best class of an upright picture, and its probability. */
    fun classify(picture: Bitmap): Pair<String, Float> {
        MNNImageProcess.convertBitmap(cut(picture), input, pixels, Matrix())
        session.run()
        val logits = session.getOutput(null).floatData
        val largest = logits.max()
        val powers = logits.map { exp(it - largest) }
        val best = powers.indices.maxBy { powers[it] }
        return labels[best] to powers[best] / powers.sum()
    }

    /** Scaled by the shorter side, and the middle of that. */
    private fun cut(picture: Bitmap): Bitmap {
        val scale = SHORT_SIDE.toFloat() / minOf(picture.width, picture.height)
        val width = max(SIZE, (picture.width * scale).roundToInt())
        val height = max(SIZE, (picture.height * scale).roundToInt())
        val scaled = Bitmap.createScaledBitmap(picture, width, height, true)
        return Bitmap.createBitmap(scaled, (width - SIZE) / 2, (height - SIZE) / 2, SIZE, SIZE)
    }

    private fun unpacked(context: Context, name: String): String {
        val file = File(context.cacheDir, name)
        context.assets.open(name).use { from -> file.outputStream().use { from.copyTo(it) } }
        return file.path
    }
}
